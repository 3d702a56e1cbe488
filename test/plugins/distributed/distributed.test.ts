import { describe, expect, test } from 'vitest';
import { COLLECTIVE, type Collective, type Plugin, type Snapshot, SteploomError, Trainer } from '../../../core/index.js';
import { distributed } from '../../../plugins/distributed/distributed.js';
import { rankFromEnvironment } from '../../../plugins/distributed/mpi/environment.js';
import { openMpi } from '../../../plugins/distributed/mpi/library.js';
import { ownersOf } from '../../../plugins/distributed/sharding/owners.js';
import { type ShardOptions, shardOf } from '../../../plugins/distributed/sharding/shard.js';
import { groups } from '../../../plugins/optimizers/groups.js';
import { prodigy } from '../../../plugins/optimizers/prodigy.js';
import { sgd } from '../../../plugins/optimizers/sgd.js';
import { memoryStore, smallRun } from '../../support/small-run.js';

describe('shards', () => {
  /** As accelerate 1.12 deals them out: rank 0 | rank 1. */
  test.each([
    [9, {}, ['01', '45', '80'], ['23', '67', '12']],
    [11, {}, ['01', '45', '89'], ['23', '67', '10,0']],
    [3, {}, ['01'], ['20']],
    [1, {}, ['00'], ['00']],
    [9, { evenBatches: false }, ['01', '45', '8'], ['23', '67']],
    [9, { dropLast: true }, ['01', '45'], ['23', '67']],
    [7, { dropLast: true }, ['01'], ['23']],
  ] as [number, ShardOptions, string[], string[]][])('%i examples, %o', (n, options, ...expected) => {
    const order = Array.from({ length: n }, (_, i) => i);
    for (const rank of [0, 1]) {
      const { ids, batchSize } = shardOf(order, 2, { rank, worldSize: 2 }, options);
      const batches = Array.from({ length: Math.ceil(ids.length / batchSize) }, (_, k) => ids.slice(2 * k, 2 * k + 2));
      expect(batches.map((batch) => batch.join(batch.some((id) => id > 9) ? ',' : ''))).toEqual(expected[rank]);
    }
  });

  test('splitBatches gives each rank its slice of every batch', () => {
    const order = Array.from({ length: 9 }, (_, i) => i);
    const of = (rank: number, options: ShardOptions = {}) => shardOf(order, 4, { rank, worldSize: 2 }, { splitBatches: true, ...options });
    expect(of(0).ids).toEqual([0, 1, 4, 5, 8, 0]);
    expect(of(1).ids).toEqual([2, 3, 6, 7, 1, 2]);
    expect([of(0).batchSize, of(0).repeated, of(1).repeated]).toEqual([2, 1, 2]);
    expect(of(1, { evenBatches: false }).ids).toEqual([2, 3, 6, 7]);
  });

  test('without what is repeated, every example comes once: ranks count the sharded data', () => {
    for (const n of [1, 5, 8, 9, 37])
      for (const worldSize of [1, 2, 3, 4]) {
        const all = Array.from({ length: worldSize }, (_, rank) => {
          const { ids, repeated } = shardOf(
            Array.from({ length: n }, (_, i) => i),
            2,
            { rank, worldSize },
          );
          return ids.slice(0, ids.length - repeated);
        });
        expect(all.flat().sort((a, b) => a - b)).toEqual(Array.from({ length: n }, (_, i) => i));
        expect(Math.max(...all.map((ids) => Math.ceil(ids.length / 2)))).toBe(Math.ceil(n / (2 * worldSize)));
      }
  });
});

describe('the optimizer’s state shared out', () => {
  test('tensors are dealt out whole, about equally, and the same whatever their order', () => {
    const sizes = Array.from({ length: 200 }, (_, i): [string, number] => [`p${i}`, 1 + ((i * 37) % 64) ** 2]);
    for (const worldSize of [1, 2, 3, 8]) {
      const owners = ownersOf(new Map(sizes), worldSize);
      expect(ownersOf(new Map([...sizes].reverse()), worldSize)).toEqual(owners);
      expect(owners.size).toBe(sizes.length);
      const loads = Array.from({ length: worldSize }, (_, rank) =>
        sizes.reduce((sum, [path, size]) => sum + (owners.get(path) === rank ? size : 0), 0),
      );
      expect(Math.max(...loads) / Math.min(...loads)).toBeLessThan(1.01);
    }
    expect([...ownersOf(new Map([['a', 5]]), 3).values()]).toEqual([0]);
  });

  /** The first of two ranks, beside one that says and sends the same. */
  const two = (): Collective & Plugin => ({
    name: 'two',
    fills: COLLECTIVE,
    rank: 0,
    worldSize: 2,
    localRank: 0,
    localSize: 2,
    sum: async (x) => x,
    max: async (x) => x,
    allReduce: async () => undefined,
    broadcast: async (bytes) => bytes as Uint8Array,
    gather: async (text) => [text, text],
    barrier: async () => undefined,
  });
  const sharing = () => smallRun({ steps: 3 }).with(two(), distributed({ shardOptimizer: true }));

  test('explain shows what one of them holds', async () => {
    const bytes = async (run: ReturnType<typeof smallRun>) => {
      const trainer = new Trainer(run, { warn: () => undefined });
      const { optimizerBytes } = await trainer.explain();
      await trainer.dispose();
      return optimizerBytes;
    };
    // w has 4 elements, b 2.
    expect(await bytes(smallRun())).toBe(8 * 6 + 16);
    expect(await bytes(sharing())).toBe(8 * 4 + 16);
  });

  test('an optimizer that looks at all parameters together is refused', async () => {
    for (const optimizer of [prodigy(), groups(sgd(), { flat: { match: 'b', optimizer: prodigy } })])
      await expect(new Trainer(sharing().with(optimizer)).train()).rejects.toThrow(/OPTION_INVALID.*ranks cannot share out/);
  });

  test('after an error nothing is saved: the others cannot be asked', async () => {
    const throwing: Plugin = {
      name: 'throwing',
      apply: ({ hooks }) =>
        hooks.afterStep.tap((step) => {
          if (step === 1) throw new Error('broken');
        }),
    };
    const store = memoryStore(1);
    await expect(new Trainer(sharing().with(throwing, store.plugin), { warn: () => undefined }).train()).rejects.toThrow('broken');
    expect(store.snapshots.map(({ step }) => step)).toEqual([1]);
  });

  test('a snapshot that holds what no rank has is refused', async () => {
    const store = memoryStore(3);
    await new Trainer(sharing().with(store.plugin)).train();
    const [saved] = store.snapshots;
    const { adamw } = saved.plugins;
    const strange: Snapshot = { ...saved, plugins: { ...saved.plugins, adamw: { ...adamw, 'm/x': adamw['m/w'] } } };
    await expect(new Trainer(sharing().with(memoryStore(9, strange).plugin)).train()).rejects.toThrow(
      /SNAPSHOT_MISMATCH.*the saved state of adamw does not fit: m\/x is unexpected/,
    );
  });
});

describe('launchers', () => {
  test('rank and size come from what mpirun, mpiexec and srun set', () => {
    expect(rankFromEnvironment({})).toBeNull();
    expect(rankFromEnvironment({ OMPI_COMM_WORLD_RANK: '1', OMPI_COMM_WORLD_SIZE: '4' })).toEqual({
      rank: 1,
      worldSize: 4,
      kind: 'openmpi',
    });
    expect(rankFromEnvironment({ PMI_RANK: '0', PMI_SIZE: '2' })).toEqual({ rank: 0, worldSize: 2, kind: 'mpich' });
    expect(rankFromEnvironment({ PMIX_RANK: '3', SLURM_STEP_NUM_TASKS: '8' })).toEqual({ rank: 3, worldSize: 8, kind: 'slurm' });
  });

  test('a missing library is an error that says what to install', () => {
    const missing = () => openMpi({ rank: 0, worldSize: 2, kind: 'openmpi' }, { MPI_LIBRARY: '/nowhere/libmpi.so' });
    expect(missing).toThrow(SteploomError);
    expect(missing).toThrow(/MPI_MISSING.*\/nowhere\/libmpi\.so.*apt-get install openmpi-bin/s);
  });
});

test('options that cannot be are named before training', async () => {
  const wrong = smallRun().with(distributed({ bucketMegabytes: 0, checkEvery: -1 }));
  await expect(new Trainer(wrong).train()).rejects.toThrow(/OPTION_INVALID.*checkEvery is -1.*bucketMegabytes is 0/s);
});
