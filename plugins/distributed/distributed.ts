import { COLLECTIVE, type Host, hashOfText, OPTIMIZER, RUN, WINDOW } from '../../core/index.js';
import type { Scalar, Tensor } from '../../core/tf.js';
import * as tf from '../../core/tf.js';
import type { Reducer } from '../devices/compute/reduction.js';
import { reducer } from './reduction/reducer.js';
import { type ShardOptions, shardOf, shardOfBatches } from './sharding/shard.js';
import { SharedOptimizer } from './sharding/shared-optimizer.js';
import { compareStates } from './sharing/divergence.js';
import { shareSnapshot, shareWeights } from './sharing/rank-zero.js';
import { buffersOf } from './sharing/values.js';

export interface DistributedOptions extends ShardOptions {
  /** Send gradients as float16: half the bytes, with float16's 11 bits. */
  readonly compression?: 'float16';
  /** Megabytes that are fetched, reduced and sent back at a time, where a device does so in buckets; 1 by default. More ranks want larger ones. */
  readonly bucketMegabytes?: number;
  /**
   * Each rank updates a share of the trained tensors and keeps the optimizer's state of these alone (ZeRO stage 1, Rajbhandari et al. 2020), for another sum over ranks a step, of weights.
   * Checkpoints hold the whole state, for any number of ranks; after an error nothing is saved.
   */
  readonly shardOptimizer?: boolean;
  /** Compare weights and the optimizer's state on all ranks every so many steps; 0 never does. 500 by default. */
  readonly checkEvery?: number;
  /** Options that must be the same on every rank, beside the run's settings. */
  readonly options?: Readonly<Record<string, unknown>>;
  /** The version to compare; the package's by default in presets. */
  readonly version?: string;
}

/** No parameter's path holds a blank. */
const LOSS = ' loss';
const BUFFER = ' buffer ';

/**
 * Prepares a run for the processes of COLLECTIVE, as accelerator.prepare does: settings are compared, examples dealt out, weights and
 * state of rank 0 shared, and the gradients of every window added up. With one process it does nothing.
 */
export const distributed = ({
  compression,
  bucketMegabytes = 1,
  shardOptimizer = false,
  checkEvery = 500,
  options = {},
  version,
  ...sharding
}: DistributedOptions = {}) => {
  let current: Reducer | null = null;
  let ofWeights: Reducer | null = null;
  return {
    name: 'distributed',
    after: [COLLECTIVE, 'limit-items'],
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
        if (shardOptimizer && resolve(OPTIMIZER).needsAll)
          check.invalid(
            'the optimizer looks at all parameters together, whose state ranks cannot share out',
            'Take another one, or leave shardOptimizer off.',
          );
        const { learningRate, weightDecay, seed, steps, epochs, warmupSteps, warmupAtMost, groups } = resolve(RUN);
        const settings = {
          version,
          seed,
          learningRate,
          weightDecay,
          steps,
          epochs,
          warmupSteps,
          warmupAtMost,
          groups,
          shardOptimizer,
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
          problems
            .options('distributed')
            .invalid(
              `the batch of ${source.batchSize} cannot be split among ${worldSize} ranks`,
              `Give a multiple of ${worldSize}, or leave splitBatches off.`,
            );
          return source;
        }
        fingerprint = hashOfText(`${source.items} ${source.batchSize} ${(await source.fingerprint?.()) ?? ''}`);
        if (source.batches) {
          const own = (epoch: number) => shardOfBatches(source.batches?.(epoch) ?? [], { rank, worldSize }, sharding);
          const batchSize = sharding.splitBatches ? source.batchSize / worldSize : source.batchSize;
          return { ...source, items: own(0).flat().length, batchSize, ids: (epoch) => own(epoch).flat(), batches: own };
        }
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

      // Made late: it depends on the device.
      const bucket = Math.ceil(bucketMegabytes * 2 ** 18);
      const reducing = () => (current ??= reducer(collective, { half: compression === 'float16', bucket }));
      const shared = shardOptimizer ? new SharedOptimizer(host, collective, () => (ofWeights ??= reducer(collective, { bucket }))) : null;
      if (shared) {
        hooks.prepareOptimizer.tap((parameters) => shared.own(parameters));
        hooks.afterUpdate.tapPromise(() => shared.share());
        hooks.beforeCheckpoint.tapPromise((snapshot) => shared.gathered(snapshot));
      }

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
        const saved = await shareSnapshot(collective, snapshot);
        return saved && shared ? shared.part(saved) : saved;
      });

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
        if (checkEvery > 0 && step % checkEvery === 0) await compareStates(host, collective, step, shardOptimizer);
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
      ofWeights?.dispose();
      current = null;
      ofWeights = null;
    },
  };
};
