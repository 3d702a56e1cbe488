import { basename, resolve } from 'node:path';

/** The name of a run's results: its folder's. */
export const runName = (folder: string): string => basename(resolve(folder)) || 'run';
