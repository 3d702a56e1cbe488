import { clipping, csv } from 'steploom/plugins';
export const text: string = 1;
// @ts-expect-error nothing is wrong here
clipping(1);
csv('log.csv', { every: undefined });
