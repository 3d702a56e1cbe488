import { allToHost, assignAll, type Host, type State, type Tensors, trainablePaths } from '../../core/index.js';
import * as tf from '../../core/tf.js';
import type { Program } from '../devices/compute/program.js';
import { applyUpdate } from '../devices/compute/update.js';
import { type DecayOptions, emaDecay } from './average/decay.js';

export interface EMAOptions extends DecayOptions {
  /** From this step on the average starts anew from the weights of that step: early ones then count for nothing. */
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
 * onWeights gives it out for evaluation, samples and export; the model's weights stay as they are.
 */
export const ema = (options: EMAOptions = {}) => {
  const { decay = 0.999, minDecay = 0, restartAt, power = 2 / 3, invGamma = 1, updateAfterStep = 0 } = options;
  const averages = new Map<string, tf.Variable>();
  return {
    name: 'ema',
    apply(host: Host) {
      const { hooks } = host;
      const variable = (path: string) => (host.model().parameters.get(path) as { variable: tf.Variable }).variable;
      hooks.validate.tap((problems) => {
        const check = problems.options('ema');
        check.share('decay', decay);
        check.share('minDecay', minDecay);
        check.positive('power', power);
        check.positive('invGamma', invGamma);
        check.whole('updateAfterStep', updateAfterStep, 0);
      });
      hooks.shareModel.tap((state, model) => {
        // Times 1 makes a copy: a variable of a variable would share its memory, which optimizers write in place.
        for (const path of trainablePaths(model))
          averages.set(
            path,
            tf.tidy(() => tf.variable((model.parameters.get(path) as { variable: tf.Variable }).variable.mul(1), false)),
          );
        return state;
      });
      hooks.afterStep.tap((step) => {
        // After a skipped step the weights are averaged once more: harmless, and nothing is read back from the device.
        const weight = step === restartAt ? 1 : 1 - emaDecay(step, options);
        applyUpdate(
          towards,
          [...averages].map(([path, a]) => ({ a, b: variable(path) })),
          { weight },
        );
      });
      hooks.onWeights.tap((parameters): Tensors => ({ ...parameters, ...Object.fromEntries(averages) }));
    },
    settings: () => ({ decay, minDecay, restartAt: restartAt ?? null, power, invGamma, updateAfterStep, warmup: options.warmup ?? false }),
    capture: (): Promise<State> => allToHost(Object.fromEntries(averages)),
    restore: async (state: State) => assignAll('ema', averages, state),
    dispose() {
      for (const average of averages.values()) average.dispose();
      averages.clear();
    },
  };
};
