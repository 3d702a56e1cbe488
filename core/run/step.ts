import type { Batch } from '../data.js';
import { abridged, fail } from '../errors.js';
import type { Metrics } from '../metrics.js';
import { makeContext } from '../model.js';
import type { Micro } from '../plan.js';
import type { Sum } from '../plugin/hooks.js';
import { COLLECTIVE, OBJECTIVE, RANDOM, type Rates, RUN, type Update } from '../plugin/roles.js';
import { backward, disposeAll, isTensor, timesItems, zeroSum } from '../tape.js';
import type { Prepared } from './prepared.js';

/** Forward and backward of one microBatch, which is disposed: sums over its items. Zeros where this rank's data has ended. */
export function microBatchSum(run: Prepared, batch: Batch | null, micro: Micro): Sum {
  const { hooks, model, weights, trained, profile } = run;
  if (!batch) return { ...zeroSum(trained), items: 0 };
  const { resolve } = run.assembled;
  const random = resolve(RANDOM);
  const { rank, worldSize } = resolve(COLLECTIVE);
  const used = hooks.onBatch.call(batch, micro);
  const { items } = used;
  try {
    const context = makeContext(model, {
      mode: 'train',
      parameters: weights,
      draw: (name, id) => random.item(name, micro.epoch, id),
      // Ranks draw differently, and one rank as ever.
      drawHere: (name) => random.micro(name, micro.step, micro.index * worldSize + rank),
    });
    const forward = () => hooks.onLoss.call(resolve(OBJECTIVE).loss(context, model, used), micro);
    const passes = () =>
      backward(
        profile ? () => profile.core('forward', forward) : forward,
        trained,
        // The gradient of a mean over items, times items, is the sum that accumulation and all-reduce add up; the loop divides once.
        () => hooks.scaleLoss.call(items),
        hooks.onGradient.taps.length > 0 ? (path, gradient) => hooks.onGradient.call(path, gradient, micro) : undefined,
      );
    const { loss, gradients, missing } = profile ? profile.core('backward', passes) : passes();
    if (missing.length > 0 && micro.step === run.startStep && micro.index === 0) {
      disposeAll({ ...gradients, loss });
      refuseIdle(missing);
    }
    return hooks.afterBackward.call({ gradients, loss: timesItems(loss, items), items }, micro);
  } finally {
    disposeAll(used.tensors);
  }
}

/** What is trained and takes no part in the loss would stay as it is, without a word. */
const refuseIdle = (paths: readonly string[]): never =>
  fail(
    'NO_GRADIENT',
    'core',
    `the loss does not depend on what is to be trained: ${abridged(paths)}`,
    'Freeze it (trainable false), adapt other modules, or use it in the loss.',
  );

/** Learning rate and decay of every group at a step. */
export function ratesAt({ hooks, assembled, groups, optimizer, plan }: Prepared, step: number, metrics: Metrics): Record<string, Rates> {
  const run = assembled.resolve(RUN);
  const rates: Record<string, Rates> = {};
  for (const group of groups) {
    const different = optimizer.groups?.[group] ?? run.groups[group];
    const baseLearningRate = different?.learningRate ?? run.learningRate;
    const { warmupSteps } = plan;
    const multiplier = hooks.onSchedule.call(1, { step, group, warmupSteps, totalSteps: plan.steps, baseLearningRate, metrics });
    rates[group] = { learningRate: baseLearningRate * multiplier, weightDecay: different?.weightDecay ?? run.weightDecay };
  }
  return rates;
}

/** Frees what is left of a step. */
export function releaseStep(sum: Sum, update: Update): void {
  disposeAll(update.gradients);
  if (isTensor(update.scale)) update.scale.dispose();
  if (isTensor(update.finite)) update.finite.dispose();
  sum.loss.dispose();
}
