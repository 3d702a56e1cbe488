import type { Variable } from '@tensorflow/tfjs';
import { type ErrorCode, type Model, SteploomError } from '../../../core/index.js';

/** An error that every rank finds at once. */
export function together(code: ErrorCode, what: string, fix: string): never {
  throw new SteploomError({ code, plugin: 'distributed', what, fix }, { everyRank: true });
}

/** Running statistics: variables that change without gradients. */
export const buffersOf = (model: Model): [string, Variable][] =>
  [...model.parameters].filter(([, { buffer }]) => buffer).map(([path, { variable }]) => [path, variable]);
