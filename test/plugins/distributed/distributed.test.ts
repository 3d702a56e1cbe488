import { describe, expect, test } from 'vitest';
import { SteploomError, Trainer } from '../../../core/index.js';
import { distributed } from '../../../plugins/distributed/distributed.js';
import { rankFromEnvironment } from '../../../plugins/distributed/mpi/environment.js';
import { openMpi } from '../../../plugins/distributed/mpi/library.js';
import { type ShardOptions, shardOf } from '../../../plugins/distributed/sharding/shard.js';
import { smallRun } from '../../support/small-run.js';

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
