import * as tf from '@tensorflow/tfjs';
import { allToHost, assignAll, type Host, type State, type Tensors, trainablePaths } from '../../core/index.js';
import { apply, type Program } from '../devices/kernels/program.js';

export interface EMAOptions {
  readonly decay?: number;
  /** From this step on the average starts anew from the weights of that step: early ones then leave no trace. */
  readonly restartAt?: number;
}

/** a += (b - a) weight */
const towards: Program = {
  name: 'lerp',
  arrays: ['a', 'b'],
  writes: ['a'],
  factors: ['weight'],
  body: (x, { a, b, weight }) => ({ a: x.add(a, x.mul(x.sub(b, a), weight)) }),
};

/**
 * An exponential moving average of the trained weights: average += (weight - average) (1 - decay) after each step.
 * onWeights gives it out for evaluation, samples and export; the model's own weights are never touched.
 */
export const ema = ({ decay = 0.999, restartAt }: EMAOptions = {}) => {
  const averages = new Map<string, tf.Variable>();
  return {
    name: 'ema',
    apply(host: Host) {
      const { hooks } = host;
      const variable = (path: string) => (host.model().parameters.get(path) as { variable: tf.Variable }).variable;
      hooks.validate.tap('ema', (problems) => {
        if (!(decay >= 0 && decay < 1))
          problems.add('OPTION_INVALID', 'ema', `decay is ${decay}`, 'Give a number from 0 up to, not including, 1.');
        return undefined;
      });
      hooks.shareModel.tap('ema', (state, model) => {
        // Times 1 makes a copy: a variable of a variable would share its memory, which optimizers write in place.
        for (const path of trainablePaths(model))
          averages.set(
            path,
            tf.tidy(() => tf.variable((model.parameters.get(path) as { variable: tf.Variable }).variable.mul(1), false)),
          );
        return state;
      });
      hooks.afterStep.tap('ema', (step) => {
        // A skipped step leaves the weights as they are; averaging them once more does no harm and asks no question.
        const weight = step === restartAt ? 1 : 1 - decay;
        apply(
          towards,
          [...averages].map(([path, a]) => ({ a, b: variable(path) })),
          { weight },
        );
        return undefined;
      });
      hooks.onWeights.tap('ema', (parameters): Tensors => ({ ...parameters, ...Object.fromEntries(averages) }));
    },
    capture: (): Promise<State> => allToHost(Object.fromEntries(averages)),
    restore: async (state: State) => assignAll('ema', averages, state),
    dispose() {
      for (const average of averages.values()) average.dispose();
      averages.clear();
    },
  };
};
