import type { Scalar, Tensor, Variable } from '@tensorflow/tfjs';
import * as tf from '@tensorflow/tfjs';
import {
  allToHost,
  COLLECTIVE,
  type Collective,
  type ErrorCode,
  fail,
  fromHost,
  type Host,
  hashOf,
  hashOfText,
  isTensorData,
  type Json,
  type Model,
  OPTIMIZER,
  RUN,
  type Snapshot,
  SteploomError,
  type Tensors,
  trainablePaths,
  WINDOW,
} from '../../core/index.js';
import type { Reducer } from '../devices/compute/reduction.js';
import { inMemory } from '../persist/formats/files.js';
import { readSnapshot, writeSnapshot } from '../persist/formats/snapshot-files.js';
import { reducer } from './reduction/reducer.js';
import { type ShardOptions, shardOf } from './sharding/shard.js';

export interface DistributedOptions extends ShardOptions {
  /** Send gradients as float16: half the bytes, with float16's 11 bits. */
  readonly compression?: 'float16';
  /** Megabytes that are fetched, reduced and sent back at a time on WebGPU; 1 by default. More ranks want larger ones. */
  readonly bucketMegabytes?: number;
  /** Compare weights and the optimizer's state on all ranks every so many steps; 0 never does. 500 by default. */
  readonly checkEvery?: number;
  /** Options that must be the same on every rank, beside the run's settings. */
  readonly options?: Readonly<Record<string, unknown>>;
  /** The version to compare; the package's by default in presets. */
  readonly version?: string;
}

/**
 * Prepares a run for the processes of COLLECTIVE, as accelerator.prepare does: settings are compared, examples dealt out, weights and
 * state of rank 0 shared, and the gradients of every window added up. With one process it does nothing.
 */
export const distributed = ({
  compression,
  bucketMegabytes = 1,
  checkEvery = 500,
  options = {},
  version,
  ...sharding
}: DistributedOptions = {}) => {
  let current: Reducer | null = null;
  return {
    name: 'distributed',
    after: [COLLECTIVE],
    apply(host: Host) {
      const { hooks, resolve } = host;
      const collective = resolve(COLLECTIVE);
      const alone = collective.worldSize === 1;
      let fingerprint = '';

      hooks.validate.tapPromise(async (problems) => {
        const check = problems.options('distributed');
        check.whole('checkEvery', checkEvery, 0, '0 for never');
        check.positive('bucketMegabytes', bucketMegabytes);
        if (alone) return;
        const { learningRate, weightDecay, seed, steps, epochs, warmupSteps, groups } = resolve(RUN);
        const settings = {
          version,
          seed,
          learningRate,
          weightDecay,
          steps,
          epochs,
          warmupSteps,
          groups,
          window: resolve(WINDOW).length,
          ...options,
        };
        const all = (await collective.gather(JSON.stringify(settings))).map((text) => JSON.parse(text) as Record<string, unknown>);
        for (const name of new Set(all.flatMap((given) => Object.keys(given)))) {
          const values = all.map((given) => JSON.stringify(given[name]) ?? 'not given');
          const other = values.findIndex((value) => value !== values[0]);
          if (other > 0)
            problems.add(
              'RANKS_DIFFER',
              'distributed',
              `${name} is ${values[0]} on rank 0 and ${values[other]} on rank ${other}`,
              'Start every rank with the same settings and version.',
            );
        }
      });

      if (alone) return;

      hooks.prepareData.tapPromise(async (source, problems) => {
        const { rank, worldSize } = collective;
        if (sharding.splitBatches && source.batchSize % worldSize !== 0) {
          problems.add(
            'OPTION_INVALID',
            'distributed',
            `the batch of ${source.batchSize} cannot be split among ${worldSize} ranks`,
            `Give a multiple of ${worldSize}, or leave splitBatches off.`,
          );
          return source;
        }
        fingerprint = hashOfText(`${source.items} ${source.batchSize} ${(await source.fingerprint?.()) ?? ''}`);
        const shard = (epoch: number) => {
          const order = source.ids(epoch);
          return shardOf(
            order.length > source.items ? Array.prototype.slice.call(order, 0, source.items) : order,
            source.batchSize,
            { rank, worldSize },
            sharding,
          );
        };
        const { ids, repeated, batchSize } = shard(0);
        // Examples repeated as padding weigh nothing, so they are not computed either: a rank whose data has ended takes part with zeros.
        const items = ids.length - repeated;
        return { ...source, items, batchSize, ids: (epoch) => shard(epoch).ids.slice(0, items) };
      });

      // Data sets are compared here: a rank that failed to open its data never comes this far.
      hooks.prepareModel.tapPromise(async (model, problems) => {
        const all = await collective.gather(fingerprint);
        const other = all.findIndex((hash) => hash !== all[0]);
        if (other > 0)
          problems.add(
            'RANKS_DIFFER',
            'distributed',
            `the data set of rank ${other} is not rank 0's (items, batch or content)`,
            'Give every rank the same data, in the same order.',
          );
        return model;
      });

      hooks.shareModel.tapPromise(async (snapshot, model) => {
        await shareWeights(collective, model);
        return shareSnapshot(collective, snapshot);
      });

      // Made late: it depends on the device.
      const reducing = () =>
        (current ??= reducer(collective, { half: compression === 'float16', bucket: Math.ceil(bucketMegabytes * 2 ** 18) }));
      // In a longer window gradients are added up first.
      const single = resolve(WINDOW).length === 1;
      hooks.onGradient.tap((path, gradient) => {
        if (single) reducing().offer(path, gradient);
      });

      hooks.onSync.tapPromise(async (sum, step) => {
        const { stop, checkpoint, evaluate, abandon } = sum.requests;
        const buffers = buffersOf(host.model());
        const weighted = Object.fromEntries(buffers.map(([path, variable]) => [`${BUFFER}${path}`, variable.mul(sum.items) as Tensor]));
        const numbers = Float32Array.of(sum.items, stop, checkpoint, evaluate, abandon);
        const sums = await reducing().reduce({ ...sum.gradients, [LOSS]: sum.loss, ...weighted }, numbers);
        const { [LOSS]: loss, ...gradients } = sums;
        // Running statistics: the mean over ranks, each by its items, so that they stay equal.
        for (const [path, variable] of buffers) {
          const total = gradients[`${BUFFER}${path}`];
          delete gradients[`${BUFFER}${path}`];
          if (numbers[0] > 0) tf.tidy(() => variable.assign(total.div(numbers[0]) as Tensor as never));
          total.dispose();
        }
        if (checkEvery > 0 && step % checkEvery === 0) await compareStates(host, collective, step);
        return {
          gradients,
          loss: loss as Scalar,
          items: numbers[0],
          requests: { stop: numbers[1], checkpoint: numbers[2], evaluate: numbers[3], abandon: numbers[4] },
        };
      });
    },
    dispose() {
      current?.dispose();
      current = null;
    },
  };
};

/** An error that every rank finds at once. */
function together(code: ErrorCode, what: string, fix: string): never {
  throw new SteploomError({ code, plugin: 'distributed', what, fix }, { everyRank: true });
}

/** No parameter's path holds a blank. */
const LOSS = ' loss';
const BUFFER = ' buffer ';

const buffersOf = (model: Model): [string, Variable][] =>
  [...model.parameters].filter(([, { buffer }]) => buffer).map(([path, { variable }]) => [path, variable]);

const weightsOf = (model: Model): Tensors =>
  Object.fromEntries([...model.parameters].map(([path, { variable }]) => [path, variable as Tensor]));

/** Rank 0's weights, on every rank; sent only if some rank has others. */
async function shareWeights(collective: Collective, model: Model): Promise<void> {
  const weights = weightsOf(model);
  const digest = async () => {
    const host = await allToHost(weights);
    return hashOfText(
      Object.entries(host)
        .map(([path, { data }]) => `${path} ${hashOf(data)}`)
        .join('\n'),
    );
  };
  const differ = (all: readonly string[]) => all.findIndex((hash) => hash !== all[0]);
  if (differ(await collective.gather(await digest())) < 0) return;
  for (const [path, weight] of Object.entries(weights)) {
    const { data, ...facts } = (await allToHost({ weight })).weight;
    const bytes = await collective.broadcast(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    if (bytes.length !== data.byteLength)
      fail(
        'RANKS_DIFFER',
        'distributed',
        `${path} has ${data.byteLength} bytes here and ${bytes.length} on rank 0`,
        'Build the same model on every rank.',
      );
    if (collective.rank === 0) continue;
    const value = fromHost({ ...facts, data: new (data.constructor as Float32ArrayConstructor)(bytes.slice().buffer) });
    model.parameters.get(path)?.variable.assign(value as Tensor as never);
    value.dispose();
  }
  const other = differ(await collective.gather(await digest()));
  if (other > 0) together('RANKS_DIFFER', `rank ${other} has other parameters than rank 0`, 'Build the same model on every rank.');
}

/** Rank 0's snapshot, on every rank; no other reads a file. */
async function shareSnapshot(collective: Collective, snapshot: Snapshot | null): Promise<Snapshot | null> {
  const contents = new Map<string, Uint8Array>();
  const files = inMemory(contents);
  if (snapshot) await writeSnapshot(files, snapshot);
  const names = JSON.parse((await collective.gather(JSON.stringify([...contents.keys()])))[0]) as string[];
  if (names.length === 0) return null;
  for (const name of names) contents.set(name, await collective.broadcast(contents.get(name) ?? null));
  return readSnapshot(files);
}

/** Whether weights and the optimizer's state are the same everywhere: a few bytes, unless they are not. */
async function compareStates(host: Host, collective: Collective, step: number): Promise<void> {
  const states: Record<string, Json | ArrayBufferView> = {};
  const model = host.model();
  const changing = Object.fromEntries([
    ...trainablePaths(model).map((path) => [path, weightsOf(model)[path]]),
    ...buffersOf(model),
  ]) as Tensors;
  for (const [path, { data }] of Object.entries(await allToHost(changing))) states[path] = data;
  for (const [name, value] of Object.entries(await host.capture(OPTIMIZER)))
    states[`the optimizer's ${name}`] = isTensorData(value) ? value.data : (value as Json);
  const hashes = Object.entries(states).map(([name, value]) => [
    name,
    ArrayBuffer.isView(value) ? hashOf(value) : hashOfText(JSON.stringify(value)),
  ]);
  const digests = await collective.gather(hashOfText(hashes.flat().join('\n')));
  const other = digests.findIndex((digest) => digest !== digests[0]);
  if (other < 0) return;
  const all = (await collective.gather(JSON.stringify(hashes))).map((text) => JSON.parse(text) as [string, string][]);
  const different = all[other].filter(([, hash], i) => hash !== all[0][i]?.[1]).map(([name]) => name);
  together(
    'RANKS_DIVERGED',
    `before step ${step + 1} rank ${other} differs from rank 0 in ${different.slice(0, 5).join(', ')}${different.length > 5 ? ` and ${different.length - 5} more` : ''}`,
    'Something computes differently there: other hardware, another driver, or a plugin that draws by itself.',
  );
}
