// What compiles for who writes a plugin, and what does not. Nothing of Node is known here: a page's author has no @types/node.

import { type Batch, compose, type Host, OPTIMIZER, type Optimizer, type Parameter, type Plugin, SCHEDULE } from 'steploom';
import { adamw, cosine } from 'steploom/plugins';
import * as tf from 'steploom/tf';

export const hooksOf = ({ hooks }: Host): void => {
  // A waterfall's tap returns the next value; the plugin's name may stand before it.
  hooks.onSchedule.tap((multiplier, { step }) => multiplier / (step + 1));
  hooks.onSchedule.tap('mine', (multiplier) => multiplier);
  hooks.onEvaluate.tapPromise(async (metrics) => ({ ...metrics, mine: 1 }));
  // @ts-expect-error returns nothing
  hooks.onBatch.tap(() => undefined);
  // @ts-expect-error may return nothing
  hooks.onBatch.tap((batch) => (batch.items > 1 ? batch : undefined));
  // @ts-expect-error a promise is no batch
  hooks.onBatch.tap(async (batch) => batch);
  // @ts-expect-error a text is no multiplier
  hooks.onSchedule.tap(() => '1');

  // Taps that only look return whatever a statement gives.
  hooks.onRecord.tap((record) => console.log(record));
  hooks.onRecord.tap(() => undefined);
  hooks.onRecord.tapPromise(async (record) => console.log(record));
  hooks.afterStep.tap((step, finite) => console.log(step, finite));
  // @ts-expect-error nothing waits for it
  hooks.afterStep.tap(async () => undefined);
  // @ts-expect-error tapPromise is for this
  hooks.onRecord.tap(async () => undefined);
  // @ts-expect-error a synchronous hook has no tapPromise
  hooks.afterStep.tapPromise(async () => undefined);

  // The first answer counts; undefined is none.
  hooks.shouldLog.tap(({ step }) => (step % 2 === 0 ? true : undefined));
  // @ts-expect-error a hook that does not exist
  hooks.onBach.tap((batch: Batch) => batch);
  // @ts-expect-error hooks are tapped, never called
  hooks.onSchedule.call(1);
};

compose(adamw(), cosine());
// @ts-expect-error the factory in place of what it makes
compose(adamw);
// @ts-expect-error the same of one that fills no role
compose(() => ({ name: 'mine' }));

export const halved: Plugin = { name: 'halved', fills: SCHEDULE, apply: ({ hooks }) => hooks.onSchedule.tap((rate) => rate / 2) };

/** An optimizer's parts are told by its role. */
export const descent = () => {
  let trained: ReadonlyMap<string, Parameter> = new Map();
  return {
    name: 'descent',
    fills: OPTIMIZER,
    start(parameters) {
      trained = parameters;
    },
    update({ gradients, scale }, rates) {
      for (const [path, { variable, group }] of trained) {
        const [gradient, rate] = [gradients[path], rates[group]];
        if (gradient && rate)
          tf.tidy(() => variable.assign(variable.sub(gradient.mul(scale).mul(rate.learningRate)) as tf.Tensor<tf.Rank>));
      }
    },
    stateBytes: () => 0,
  } satisfies Plugin & Optimizer;
};
compose(descent());

// @ts-expect-error an optimizer without update
compose({ name: 'idle', fills: OPTIMIZER, start() {}, stateBytes: () => 0 });
// @ts-expect-error the role by its name
compose({ name: 'idle', fills: 'SCHEDULE' });
