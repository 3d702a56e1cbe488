import { Problems, SteploomError } from '../errors.js';
import { makeContext } from '../model.js';
import { COLLECTIVE, DEVICE, OBJECTIVE, RANDOM } from '../plugin/roles.js';
import { backward, disposeAll } from '../tape.js';
import { macrotask } from './breathe.js';
import { checkMemory } from './check-memory.js';
import type { Prepared } from './prepared.js';
import { ratesAt } from './step.js';
import { unchanged } from './unchanged.js';

export interface BatchSizeOptions {
  /** The largest microBatch that is tried; as many as this process has examples, and at most 1,024, by default. */
  readonly most?: number;
  /** Told of each size that was tried. */
  readonly onTry?: (tried: BatchTrial) => void;
}

/** A size that was tried, and how long forward, backward and update took, where they fitted. */
export interface BatchTrial {
  readonly batchSize: number;
  readonly fits: boolean;
  readonly seconds?: number;
}

export interface BatchSizes {
  /** The largest microBatch that fits; null where none does. */
  readonly batchSize: number | null;
  readonly tried: readonly BatchTrial[];
}

/** Larger ones are not tried without a word. */
const MOST = 1024;

/** Whether something was thrown because memory ran out: by a device that says so, or by JavaScript, which cannot make an array. */
function isOutOfMemory(thrown: unknown, inWords: (thrown: unknown) => Error | undefined): boolean {
  const error = inWords(thrown) ?? thrown;
  if (error instanceof SteploomError)
    return error.code === 'OUT_OF_MEMORY' || (error.cause !== undefined && isOutOfMemory(error.cause, inWords));
  return error instanceof RangeError || (error instanceof Error && /out of memory|OOM when allocating/i.test(error.message));
}

/** Forward, backward and update of the first examples of an epoch. The update changes nothing: it counts as one of gradients that are not finite. */
async function step(run: Prepared, items: number): Promise<void> {
  const { assembled, source, model, weights, trained, hooks, optimizer, startStep } = run;
  const random = assembled.resolve(RANDOM);
  const ids = Array.prototype.slice.call(source.ids(0), 0, items) as number[];
  const batch = await source.load(ids, { epoch: 0, upcoming: [] });
  const micro = { step: startStep, epoch: 0, index: 0, inEpoch: 0, endsWindow: true };
  const used = hooks.onBatch.call(batch, micro);
  try {
    const context = makeContext(model, {
      mode: 'train',
      parameters: weights,
      draw: (name, id) => random.item(name, 0, id),
      drawHere: (name) => random.micro(name, startStep, 0),
      // Nothing is captured for shapes that will not come again.
      trial: true,
    });
    const objective = assembled.resolve(OBJECTIVE);
    const { loss, gradients } = backward(
      () => objective.loss(context, model, used),
      trained,
      () => used.items,
    );
    try {
      optimizer.update({ gradients, scale: 1 / used.items, finite: 0 }, ratesAt(run, startStep, {}), startStep);
      await loss.data();
    } finally {
      disposeAll({ ...gradients, loss });
    }
    // A device that works on its own tells of a failure when it is next given something to do.
    const [weight] = Object.values(trained);
    const copy = weight.mul(1);
    await copy.data();
    copy.dispose();
  } finally {
    disposeAll(used.tensors);
  }
}

/**
 * The largest microBatch that fits into the device's memory: doubled until one does not, then by halving what lies between. What is forecast not to fit is not
 * tried. The device is given the memory back; where it never says that there is none left (cpu), `most` is the bound.
 */
export async function findBatchSize(run: Prepared, { most, onTry }: BatchSizeOptions): Promise<BatchSizes> {
  const { assembled, source } = run;
  if (most !== undefined) {
    const problems = new Problems();
    if (!problems.options('find-batch-size').whole('most', most, 1)) throw new SteploomError(problems.list);
  }
  const device = assembled.resolve(DEVICE);
  const collective = assembled.resolve(COLLECTIVE);
  const bound = -(await collective.max(-Math.min(source.items, most ?? MOST)));
  const tried: BatchTrial[] = [];
  const forecast = (items: number): boolean => {
    const found = new Problems();
    const plan = { ...run.plan, batchSize: items };
    checkMemory({ assembled, model: run.model, optimizer: run.optimizer, plan, source, limits: run.device.limits ?? {} }, found);
    return found.list.length === 0;
  };
  const seconds = async (items: number): Promise<number | undefined> => {
    if (!forecast(items)) return undefined;
    try {
      // The first time shaders are made and memory is asked for.
      await step(run, items);
      const began = performance.now();
      await step(run, items);
      return (performance.now() - began) / 1000;
    } catch (error) {
      if (!isOutOfMemory(error, (thrown) => device.inWords?.(thrown))) throw error;
      return undefined;
    } finally {
      device.release?.();
    }
  };
  /** All ranks, or none. */
  const fits = async (items: number): Promise<boolean> => {
    const took = await seconds(items);
    const trial = (await collective.sum(took === undefined ? 1 : 0)) === 0 && took !== undefined;
    const found: BatchTrial = { batchSize: items, fits: trial, ...(trial ? { seconds: took } : {}) };
    tried.push(found);
    onTry?.(found);
    await macrotask();
    return trial;
  };
  let [low, high] = [0, bound + 1];
  await unchanged(run, async () => {
    for (let items = 1; low < bound && high > bound; items = Math.min(2 * items, bound)) {
      if (await fits(items)) low = items;
      else high = items;
    }
    while (high - low > 1) {
      const middle = Math.floor((low + high) / 2);
      if (await fits(middle)) low = middle;
      else high = middle;
    }
  });
  return { batchSize: low > 0 ? low : null, tried };
}
