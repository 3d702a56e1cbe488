import { SteploomError } from '../errors.js';

const CODE = 'EVALUATION_BROKEN_OFF';

/** What ends an evaluation that a stop cut short, on every rank alike; the run's session catches it. */
export const brokenOff = (plugin: string): SteploomError =>
  new SteploomError(
    {
      code: CODE,
      plugin,
      what: 'an evaluation was broken off outside of onEvaluate',
      fix: 'Call breakOffEvaluation() in onEvaluate alone.',
    },
    { everyRank: true },
  );

export const isBrokenOff = (error: unknown): boolean => error instanceof SteploomError && error.code === CODE;
