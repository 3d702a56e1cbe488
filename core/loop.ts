import type { Batch } from './data.js';
import type { Metrics } from './metrics.js';
import { type Micro, microBatches, type Plan, type Position, positionOf } from './plan.js';
import type { Hooks, Requests, Sum } from './plugin/hooks.js';
import type { Rates, Update } from './plugin/roles.js';

/** What the loop works with; run/session.ts is it. Everything TensorFlow knows of is behind these few calls. */
export interface Machinery {
  readonly hooks: Hooks;
  readonly plan: Plan;
  readonly startStep: number;
  readonly metrics: Metrics;
  load(micro: Micro): Promise<Batch | null>;
  /** Forward and backward of one microBatch; zeros where this rank's data has ended. */
  gradients(batch: Batch | null, micro: Micro): Sum;
  requests(): Requests;
  /** Updates the weights, on every rank. Calls afterUpdate. */
  update(update: Update, rates: Record<string, Rates>, step: number): Promise<void>;
  rates(step: number): Record<string, Rates>;
  log(at: Position, sum: Sum, rates: Record<string, Rates>): Promise<void>;
  /** Calls onStart. Whether a stop was asked for by then, on any rank. */
  begin(): Promise<boolean>;
  /** Whether a stop was asked for by the time it ended, on any rank: there is no other step then. */
  evaluate(at: Position): Promise<boolean>;
  /** Saves the run after so many steps. */
  checkpoint(steps: number): Promise<void>;
  /** Whether a stop was asked for that must not wait for the window's end. */
  breaksOff(micro: Micro): Promise<boolean>;
  /** Drops a window's sum, and saves the run as it was before it. */
  abandon(sum: Sum & { readonly requests: Requests }, steps: number): Promise<void>;
  /** Frees what is left of a step. */
  release(sum: Sum, update: Update): void;
  breathe(): Promise<void>;
}

/** The loop. docs/loop.md shows it as pseudocode, and a test holds the two together. Returns whether it was stopped. */
export async function loop(run: Machinery): Promise<{ step: number; stopped: boolean }> {
  const { hooks, plan } = run;
  let step = run.startStep;
  let stopped = await run.begin();
  for (let resumed = true; step < plan.steps && !stopped; resumed = false) {
    const at = positionOf(plan, step);
    if (at.startsEpoch || resumed) await hooks.beforeEpoch.promise(at);
    let local!: Sum;
    for (const micro of microBatches(plan, at)) {
      local = hooks.onAccumulate.call(run.gradients(await run.load(micro), micro), micro);
      if (await run.breaksOff(micro)) break;
    }
    const requests = hooks.onRequest.call(run.requests(), at, run.metrics);
    const sum = await hooks.onSync.promise({ gradients: local.gradients, loss: local.loss, items: local.items, requests }, step);
    if (sum.requests.abandon > 0) {
      await run.abandon(sum, step);
      stopped = true;
      break;
    }
    let update = hooks.onUnscale.call({ gradients: sum.gradients, scale: 1 / sum.items, finite: 1 }, step);
    const rates = run.rates(step);
    update = hooks.beforeStep.call(update, step);
    await run.update(update, rates, step);
    hooks.afterStep.call(step, update.finite);
    if (hooks.shouldLog.call(at)) await run.log(at, sum, rates);
    run.release(sum, update);
    step++;
    const endsHere = sum.requests.evaluate > 0 && (await run.evaluate(at));
    if (at.endsEpoch) await hooks.afterEpoch.promise(at);
    if (sum.requests.checkpoint > 0 || endsHere) await run.checkpoint(step);
    stopped = sum.requests.stop > 0 || endsHere;
    await run.breathe();
  }
  await hooks.onEnd.promise({ step, stopped });
  return { step, stopped };
}
