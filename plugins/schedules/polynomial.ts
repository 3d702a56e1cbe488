import { afterWarmup, schedule } from './curve/schedule.js';

export interface PolynomialOptions {
  readonly power?: number;
  /** The rate at the end. */
  readonly end?: number;
}

/** ((base - end) (1 - p)^power + end) / base over the progress p; end / base afterwards. */
export const polynomial = ({ power = 1, end = 1e-7 }: PolynomialOptions = {}) =>
  schedule(
    'polynomial',
    (input) => {
      const { step, totalSteps, baseLearningRate: base } = input;
      return step > totalSteps ? end / base : ((base - end) * (1 - afterWarmup(input)) ** power + end) / base;
    },
    {
      settings: { power, end },
      check(options, base) {
        options.positive('power', power);
        if (!(base > end))
          options.invalid(`the end rate ${end} is not below the learning rate ${base}`, 'Lower end, or raise learningRate.');
      },
    },
  );
