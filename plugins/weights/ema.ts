import * as tf from '@tensorflow/tfjs';
import { allToHost, assignAll, type Host, type State, type Tensors, trainablePaths } from '../../core/index.js';
import type { Program } from '../devices/compute/program.js';
import { applyUpdate } from '../devices/compute/update.js';

export interface EMAOptions {
  /** The largest decay. */
  readonly decay?: number;
  /** The least, once the average moves at all. */
  readonly minDecay?: number;
  /**
   * How the decay rises over the first steps: 'none' (default) has the whole decay at once; 'ratio' is (1 + s) / (10 + s), 'power' is
   * 1 - (1 + s / invGamma)^-power (Crowson), s counting updates from 0. Both as diffusers' EMAModel, where 'ratio' is the usual.
   */
  readonly warmup?: 'none' | 'ratio' | 'power';
  readonly power?: number;
  readonly invGamma?: number;
  /** Steps during which the average is the weights themselves. */
  readonly updateAfterStep?: number;
  /** From this step on the average starts anew from the weights of that step: early ones then leave no trace. */
  readonly restartAt?: number;
}

/** The decay of step `step`, from 0; as diffusers' EMAModel.get_decay of step + 1, but for 'none'. */
export function emaDecay(
  step: number,
  { decay = 0.999, minDecay = 0, warmup = 'none', power = 2 / 3, invGamma = 1, updateAfterStep = 0 }: EMAOptions,
): number {
  const s = step - updateAfterStep;
  if (warmup === 'none') return s < 0 ? 0 : decay;
  if (s <= 0) return 0;
  const rising = warmup === 'power' ? 1 - (1 + s / invGamma) ** -power : (1 + s) / (10 + s);
  return Math.max(minDecay, Math.min(decay, rising));
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
export const ema = (options: EMAOptions = {}) => {
  const { decay = 0.999, minDecay = 0, restartAt, power = 2 / 3, invGamma = 1, updateAfterStep = 0 } = options;
  const averages = new Map<string, tf.Variable>();
  return {
    name: 'ema',
    apply(host: Host) {
      const { hooks } = host;
      const variable = (path: string) => (host.model().parameters.get(path) as { variable: tf.Variable }).variable;
      hooks.validate.tap((problems) => {
        for (const [name, value] of Object.entries({ decay, minDecay }))
          if (!(value >= 0 && value < 1))
            problems.add('OPTION_INVALID', 'ema', `${name} is ${value}`, 'Give a number from 0 up to, not including, 1.');
        for (const [name, value] of Object.entries({ power, invGamma }))
          if (!(value > 0)) problems.add('OPTION_INVALID', 'ema', `${name} is ${value}`, 'Give a number above 0.');
        if (!(Number.isInteger(updateAfterStep) && updateAfterStep >= 0))
          problems.add('OPTION_INVALID', 'ema', `updateAfterStep is ${updateAfterStep}`, 'Give a whole number, at least 0.');
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
        // A skipped step leaves the weights as they are; averaging them once more does no harm and asks no question.
        const weight = step === restartAt ? 1 : 1 - emaDecay(step, options);
        applyUpdate(
          towards,
          [...averages].map(([path, a]) => ({ a, b: variable(path) })),
          { weight },
        );
      });
      hooks.onWeights.tap((parameters): Tensors => ({ ...parameters, ...Object.fromEntries(averages) }));
    },
    capture: (): Promise<State> => allToHost(Object.fromEntries(averages)),
    restore: async (state: State) => assignAll('ema', averages, state),
    dispose() {
      for (const average of averages.values()) average.dispose();
      averages.clear();
    },
  };
};
