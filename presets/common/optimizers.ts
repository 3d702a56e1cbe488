import type { Filling } from '../../core/index.js';
import { adafactor } from '../../plugins/optimizers/adafactor.js';
import { type AdamWOptions, adamw } from '../../plugins/optimizers/adamw.js';
import { adamw8bit } from '../../plugins/optimizers/adamw8bit.js';
import { lion } from '../../plugins/optimizers/lion.js';
import { prodigy } from '../../plugins/optimizers/prodigy.js';
import { sgd } from '../../plugins/optimizers/sgd.js';

/** The optimizers as the command line names them. */
export const OPTIMIZERS = ['adamw', 'adamw8bit', 'lion', 'prodigy', 'adafactor', 'sgd'] as const;
export type OptimizerName = (typeof OPTIMIZERS)[number];

/** An optimizer by name. Adam's constants go to those that have Adam's means; the others keep their papers'. */
export function optimizerByName(name: OptimizerName, adam: AdamWOptions = {}): Filling<'OPTIMIZER'> {
  const make: Record<OptimizerName, () => Filling<'OPTIMIZER'>> = {
    adamw: () => adamw(adam),
    adamw8bit: () => adamw8bit(adam),
    lion: () => lion(),
    prodigy: () => prodigy(adam),
    adafactor: () => adafactor(),
    sgd: () => sgd({ momentum: 0.9 }),
  };
  return make[name]();
}
