import { NotReplayable } from '../captured.js';
import type { Source } from '../data.js';
import type { Problems } from '../errors.js';
import type { Forecast, MemoryForecast } from '../forecast.js';
import { type Model, makeContext, type Parameter, weightsOf } from '../model.js';
import type { Plan } from '../plan.js';
import type { Assembled } from '../plugin/container.js';
import { DEVICE, type Device, type DeviceReport, MODEL, OBJECTIVE, type Optimizer, RANDOM, type Trial } from '../plugin/roles.js';
import { withRecomputedBlocks } from '../recomputed.js';
import { withPartsApart } from '../replayed.js';
import { backward, disposeAll } from '../tape.js';
import { momentsOf, needsOf } from './memory.js';

/** What is known of a run when its memory is forecast. */
export interface Given {
  readonly assembled: Assembled;
  readonly model: Model;
  readonly optimizer: Optimizer;
  readonly plan: Plan;
  readonly source: Source;
  readonly limits: NonNullable<DeviceReport['limits']>;
}

/** A forecast for another number of examples, or another side. */
type Forecaster = (items: number, side: number) => Forecast;

/** The four trials together are so many smallest examples: 2 + 3 + 8 + 32. */
const TRIALS = 45;

/** Of the device's memory, what a proposal may take: a heap has gaps, and operations take room of their own. */
const PROPOSED = 0.8;

/**
 * Forecasts a step, and refuses one that needs more memory than the device has, before it is tried: a run would end in the middle of it. Where a device cannot rehearse,
 * what is counted is what must be there at one time; it needs more, so that nothing is refused that works, and steps that are far from its limits are not looked at.
 */
export function checkMemory(given: Given, problems: Problems): Forecast | null {
  const { model, limits, plan, assembled } = given;
  const trial = assembled.resolve(OBJECTIVE).trial?.(model, given.source);
  if (!trial) return null;
  const { batchSize } = plan;
  const { side, least, atMost } = trial;
  const { bytes = Number.POSITIVE_INFINITY, tensorBytes = Number.POSITIVE_INFINITY } = limits;
  // A trial would take a second.
  const isFar = bytesBefore(given) + batchSize * atMost.kept < bytes && batchSize * atMost.largest < tensorBytes;
  if (!assembled.resolve(DEVICE).rehearse && isFar) return null;
  const forecast = forecasterOf(given, trial, model);
  if (!forecast) return null;
  const fits = ({ memory }: Forecast, share = 1) => !memory || (memory.bytes <= share * bytes && memory.largest <= tensorBytes);
  const found = forecast(batchSize, side);
  const { memory } = found;
  if (!memory || fits(found)) return found;
  const what = `a microBatch of ${batchSize} at ${trial.named(side)} needs ${memory.exact ? '' : 'at least '}${gib(memory.bytes)} at one time (its largest tensor ${gib(memory.largest)})`;
  const there = [
    ...(memory.bytes > bytes ? [`the device has ${gib(bytes)}`] : []),
    ...(memory.largest > tensorBytes ? [`a tensor on it has at most ${gib(tensorBytes)}`] : []),
  ];
  const items = mostThat((n) => fits(forecast(n, side), PROPOSED), batchSize);
  const sides = mostThat((n) => fits(forecast(batchSize, n * least), PROPOSED), Math.floor(side / least));
  const blocks = [...(model.blocks ?? [])];
  const less = blocks.length > 0 && !blocks.some((path) => model.wraps.has(path)) ? withRecomputedBlocks(model) : null;
  const smaller = assembled.resolve(MODEL).smaller?.() ?? null;
  const checkpointed = less && forecasterOf(given, trial, less)?.(batchSize, side);
  const ways = [
    ...(checkpointed && fits(checkpointed, PROPOSED) ? ['gradient checkpointing'] : []),
    ...(items > 0 ? [`a batch of ${items} with gradient accumulation of ${Math.ceil(batchSize / items)}`] : []),
    ...(sides > 0 ? [`a resolution of ${trial.named(sides * least)}`] : []),
  ];
  const room =
    ways.length > 0 ? `There should be room for ${ways.join(', or for ')}.` : 'Lower the resolution, or use a device with more memory.';
  problems.add('OUT_OF_MEMORY', 'core', `${what}; ${there.join(', and ')}`, smaller ? `${room} It takes less with ${smaller}.` : room);
  return found;
}

/** How steps of a model are forecast on the run's device; null where they cannot be. */
function forecasterOf(given: Given, trial: Trial, model: Model): Forecaster | null {
  const { plan, assembled } = given;
  const { rehearse } = assembled.resolve(DEVICE);
  if (rehearse) return rehearserOf(given, trial, model, rehearse);
  const before = bytesBefore(given);
  const tried = (base: number) =>
    plan.batchSize * (trial.side / base) ** 2 < 2 * TRIALS
      ? null
      : needsOf((items, at) => momentsOf(() => tryOut(given, model, trial, items, at, true)), base);
  // Devices have other ways of computing what is very small.
  const needs = tried(trial.least) ?? tried(2 * trial.least);
  return (
    needs &&
    ((items, side) => {
      const { peak, largest } = needs(items, side);
      return { memory: { bytes: before + peak, largest, exact: false }, graphs: [] };
    })
  );
}

/** By going through forward and backward on the device, on which nothing is computed meanwhile. */
function rehearserOf(given: Given, trial: Trial, model: Model, rehearse: NonNullable<Device['rehearse']>): Forecaster {
  const { optimizer } = given;
  const leaving = [...(model.leaving ?? [])].flatMap((path) => model.parameters.get(path)?.variable ?? []);
  const kept = optimizer.stateBytes() + windowBytes(given);
  return (items, side) => {
    const { model: apart, parts } = withPartsApart(model);
    const passes = (): void => {
      try {
        // Twice: what the first leaves free does not always fit the second.
        for (let pass = 0; pass < 2; pass++) tryOut(given, apart, trial, items, side, false);
      } finally {
        for (const { part } of parts) part.dispose();
      }
    };
    let memory: MemoryForecast | null = null;
    try {
      const { bytes, largest } = rehearse(passes, leaving);
      memory = { bytes: bytes + kept, largest, exact: true };
    } catch (error) {
      if (!(error instanceof NotReplayable)) throw error;
    }
    return { memory, graphs: parts.map(({ path, refused }) => ({ path, why: refused[0] ?? null })) };
  };
}

/** Forward and backward of made-up examples. */
function tryOut({ assembled }: Given, model: Model, trial: Trial, items: number, side: number, isTrial: boolean): void {
  const random = assembled.resolve(RANDOM);
  const weights = weightsOf(model);
  const context = makeContext(model, {
    mode: 'train',
    parameters: weights,
    draw: (name, id) => random.item(name, 0, id),
    drawHere: (name) => random.micro(name, 0, 0),
    trial: isTrial,
  });
  const trained = Object.fromEntries([...model.parameters].filter(([, p]) => p.trainable).map(([path, { variable }]) => [path, variable]));
  const { loss, gradients } = backward(
    () => trial.loss(context, model, items, side),
    trained,
    () => items,
  );
  disposeAll({ ...gradients, loss });
}

/** Bytes of what a window has added up before its last microBatch. */
const windowBytes = ({ model, plan }: Given): number =>
  plan.windowLength > 1 ? bytesOf([...model.parameters.values()].filter(({ trainable }) => trainable)) : 0;

/** What is there before a pass where all is in single precision. */
const bytesBefore = (given: Given): number =>
  bytesOf([...given.model.parameters.values()]) + given.optimizer.stateBytes() + windowBytes(given);

const bytesOf = (parameters: readonly Parameter[]): number => parameters.reduce((sum, { variable }) => sum + 4 * variable.size, 0);

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
