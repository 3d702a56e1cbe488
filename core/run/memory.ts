import type { Source } from '../data.js';
import { engineInternals } from '../engine.js';
import type { Problems } from '../errors.js';
import { type Model, makeContext, weightsOf } from '../model.js';
import type { Plan } from '../plan.js';
import type { Assembled } from '../plugin/container.js';
import { type DeviceReport, OBJECTIVE, type Optimizer, RANDOM, type Trial } from '../plugin/roles.js';
import { withRecomputedBlocks } from '../recomputed.js';
import { backward, disposeAll } from '../tape.js';

/** What is kept at a moment when a tensor was made, and that tensor, in bytes. */
interface Moment {
  readonly kept: number;
  readonly made: number;
}

/** Runs `fn` and notes each making of data: tf.memory() counts what two tensors share twice. */
export function momentsOf(fn: () => void): Moment[] {
  const engine = engineInternals();
  const { trackTensor, removeDataId } = engine;
  const { tensorInfo } = engine.state;
  const own = new Set<object>();
  const moments: Moment[] = [];
  let kept = 0;
  engine.trackTensor = (tensor, backend) => {
    const { dataId } = tensor as unknown as { dataId: object };
    const isNew = !tensorInfo.has(dataId);
    trackTensor.call(engine, tensor, backend);
    if (!isNew) return;
    own.add(dataId);
    const made = tensorInfo.get(dataId)?.bytes ?? 0;
    kept += made;
    moments.push({ kept, made });
  };
  engine.removeDataId = (id, backend) => {
    if (own.delete(id)) kept -= tensorInfo.get(id)?.bytes ?? 0;
    removeDataId.call(engine, id, backend);
  };
  try {
    fn();
  } finally {
    // They are the prototype's.
    Reflect.deleteProperty(engine, 'trackTensor');
    Reflect.deleteProperty(engine, 'removeDataId');
  }
  return moments;
}

/** What one microBatch of so many examples of a side takes, in bytes, beside what is there before: at its peak, and its largest tensor. */
export type Needs = (items: number, side: number) => { readonly peak: number; readonly largest: number };

/**
 * Every tensor of a pass has a size a + n (d + b p + c p^2), for n examples of p units of area (attention of all pixels to all pixels has the square). Four
 * trials give the four numbers, so that what a larger step needs is known exactly, whatever the model, its adapters and the device's operations.
 * Null where larger steps make other tensors than smaller ones.
 */
export function needsOf(trial: (items: number, side: number) => readonly Moment[], least: number): Needs | null {
  const [small, more, middle, large] = [trial(2, least), trial(3, least), trial(2, 2 * least), trial(2, 4 * least)];
  if ([more, middle, large].some(({ length }) => length !== small.length)) return null;
  const polynomials = (of: (moment: Moment) => number) =>
    small.map((moment, i) => {
      const each1 = of(more[i]) - of(moment);
      const a = of(moment) - 2 * each1;
      const [each4, each16] = [middle[i], large[i]].map((one) => (of(one) - a) / 2);
      const c = (each16 - each4 - 4 * (each4 - each1)) / 180;
      const b = (each4 - each1 - 15 * c) / 3;
      return { a, b, c, d: each1 - b - c };
    });
  const fits = [polynomials(({ kept }) => kept), polynomials(({ made }) => made)];
  return (items, side) => {
    const p = (side / least) ** 2;
    const [peak, largest] = fits.map((list) =>
      list.reduce((most, { a, b, c, d }) => Math.max(most, a + items * (d + b * p + c * p * p)), 0),
    );
    return { peak, largest };
  };
}

interface Given {
  readonly assembled: Assembled;
  readonly model: Model;
  readonly optimizer: Optimizer;
  readonly plan: Plan;
  readonly source: Source;
  readonly limits: NonNullable<DeviceReport['limits']>;
}

/** The four trials together are so many smallest examples: 2 + 3 + 8 + 32. */
const TRIALS = 45;

/** Of the device's memory, what a proposal may take: a heap has gaps, and operations take room of their own. */
const PROPOSED = 0.8;

/**
 * Refuses a step that needs more memory than the device has, before it is tried: a run would end in the middle of it. What is counted is what must be
 * there at one time; a device needs more, so that nothing is refused that works. Steps so small that trying would take longer than they do are not looked at.
 */
export function checkMemory(given: Given, problems: Problems): void {
  const { model, source, limits, plan, assembled } = given;
  const trial = assembled.resolve(OBJECTIVE).trial?.(model, source);
  if (!trial || (limits.bytes === undefined && limits.tensorBytes === undefined)) return;
  const { batchSize } = plan;
  const { side, least, atMost } = trial;
  const { bytes = Number.POSITIVE_INFINITY, tensorBytes = Number.POSITIVE_INFINITY } = limits;
  const before = bytesBefore(given);
  // A trial would take a GPU the making of many shaders, and others a second.
  if (before + batchSize * atMost.kept < bytes && batchSize * atMost.largest < tensorBytes) return;
  const needsWith = (model: Model): Needs | null => {
    const tried = (base: number) =>
      batchSize * (side / base) ** 2 < 2 * TRIALS
        ? null
        : needsOf((items, at) => momentsOf(() => tryOut({ ...given, model }, trial, items, at)), base);
    // Devices have other ways of computing what is very small.
    return tried(least) ?? tried(2 * least);
  };
  const needs = needsWith(model);
  if (!needs) return;
  const fits = (items: number, at: number, share = 1, by = needs) => {
    const { peak, largest } = by(items, at);
    return before + peak <= share * bytes && largest <= tensorBytes;
  };
  if (fits(batchSize, side)) return;
  const { peak, largest } = needs(batchSize, side);
  const what = `a microBatch of ${batchSize} at ${trial.named(side)} needs at least ${gib(before + peak)} at one time (its largest tensor ${gib(largest)})`;
  const there = [
    ...(before + peak > bytes ? [`the device has ${gib(bytes)}`] : []),
    ...(largest > tensorBytes ? [`a tensor on it has at most ${gib(tensorBytes)}`] : []),
  ];
  const items = mostThat((n) => fits(n, side, PROPOSED), batchSize);
  const sides = mostThat((n) => fits(batchSize, n * least, PROPOSED), Math.floor(side / least));
  const blocks = [...(model.blocks ?? [])];
  const less = blocks.length > 0 && !blocks.some((path) => model.wraps.has(path)) ? needsWith(withRecomputedBlocks(model)) : null;
  const ways = [
    ...(less && fits(batchSize, side, PROPOSED, less) ? ['gradient checkpointing'] : []),
    ...(items > 0 ? [`a batch of ${items} with gradient accumulation of ${Math.ceil(batchSize / items)}`] : []),
    ...(sides > 0 ? [`a resolution of ${trial.named(sides * least)}`] : []),
  ];
  problems.add(
    'OUT_OF_MEMORY',
    'core',
    `${what}; ${there.join(', and ')}`,
    ways.length > 0 ? `There should be room for ${ways.join(', or for ')}.` : 'Lower the resolution, or use a device with more memory.',
  );
}

/** Forward and backward of made-up examples. */
function tryOut({ assembled, model }: Given, trial: Trial, items: number, side: number): void {
  const random = assembled.resolve(RANDOM);
  const weights = weightsOf(model);
  const context = makeContext(model, {
    mode: 'train',
    parameters: weights,
    draw: (name, id) => random.item(name, 0, id),
    drawHere: (name) => random.micro(name, 0, 0),
    trial: true,
  });
  const trained = Object.fromEntries([...model.parameters].filter(([, p]) => p.trainable).map(([path, { variable }]) => [path, variable]));
  const { loss, gradients } = backward(
    () => trial.loss(context, model, items, side),
    trained,
    () => items,
  );
  disposeAll({ ...gradients, loss });
}

/** Weights, the optimizer's state, and what a window has added up before its last microBatch. */
function bytesBefore({ model, optimizer, plan }: Given): number {
  const sizes = [...model.parameters.values()].map(({ variable, trainable }) => ({ bytes: 4 * variable.size, trainable }));
  const sum = (list: typeof sizes) => list.reduce((all, { bytes }) => all + bytes, 0);
  return sum(sizes) + optimizer.stateBytes() + (plan.windowLength > 1 ? sum(sizes.filter(({ trainable }) => trainable)) : 0);
}

/** The largest whole number up to `end` for which it holds; 0 where there is none. */
function mostThat(holds: (n: number) => boolean, end: number): number {
  let [low, high] = [0, end];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (holds(middle)) low = middle;
    else high = middle - 1;
  }
  return low;
}

const gib = (bytes: number): string => `${(bytes / 2 ** 30).toPrecision(3)} GiB`;
