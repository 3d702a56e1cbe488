import { spawn } from 'node:child_process';
import { readdir, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';
import { describe, expect, test } from 'vitest';
import { SteploomError, Trainer } from '../../../core/index.js';
import { distributed } from '../../../plugins/distributed/distributed.js';
import { rankFromEnvironment } from '../../../plugins/distributed/mpi/environment.js';
import { openMpi } from '../../../plugins/distributed/mpi/library.js';
import { type ShardOptions, shardOf } from '../../../plugins/distributed/sharding/shard.js';
import { relativeGap, testDevices } from '../../support/devices.js';
import { folder, launchers, type RankResult, ran, ranks, results } from '../../support/mpi.js';
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

  test('steploom launch without a launcher says so', async () => {
    const cli = fileURLToPath(new URL('../../../dist/presets/cli/main.js', import.meta.url));
    const { code, output } = await ran(process.execPath, [
      cli,
      'launch',
      '--processes',
      '2',
      '--mpirun',
      '/nowhere/mpirun',
      '--',
      'devices',
    ]);
    expect(code).toBe(2);
    expect(output).toMatch(/MPI_MISSING.*\/nowhere\/mpirun/);
  });
});

test('options that cannot be are named before training', async () => {
  const wrong = smallRun().with(distributed({ bucketMegabytes: 0, checkEvery: -1 }));
  await expect(new Trainer(wrong).train()).rejects.toThrow(/OPTION_INVALID.*checkEvery is -1.*bucketMegabytes is 0/s);
});

const gap = (a: RankResult, b: RankResult): number =>
  Math.max(...Object.keys(a.weights).map((path) => relativeGap(b.weights[path], a.weights[path])));

const found = launchers();
const hasWebGPU = (await testDevices()).includes('webgpu');

const cli = fileURLToPath(new URL('../../../dist/presets/cli/main.js', import.meta.url));

describe.each(found.map((launcher) => [launcher.name, launcher] as const))('under %s', (_, launcher) => {
  /** `steploom launch` of a run without an end, whose plugin does something in each step. */
  const launched = async (inStep = '') => {
    const into = await folder();
    await sharp({ create: { width: 32, height: 32, channels: 3, background: 'red' } }).toFile(join(into, '0.png'));
    await writeFile(join(into, '0.txt'), 'red heart');
    await writeFile(
      join(into, 'config.mjs'),
      `export default { trainDataDir: '.', device: 'wasm', threads: 1, trainBatchSize: 1, lrWarmupSteps: 0, maxTrainSteps: 100000, quiet: true, outputDir: 'run' };
       export const plugins = [{ name: 'mine', apply: ({ hooks }) => hooks.beforeStep.tap((update, step) => { ${inStep}; return update; }) }];`,
    );
    const args = [
      cli,
      'launch',
      '--processes',
      '2',
      '--mpirun',
      launcher.path,
      '--',
      'train',
      'lora-text-to-image',
      '--config',
      'config.mjs',
    ];
    const child = spawn(process.execPath, args, { cwd: into });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk));
    const said = async (what: string) => {
      while (!output.includes(what)) await new Promise((goOn) => setTimeout(goOn, 20));
    };
    return { child, said, ended: new Promise((resolve) => child.once('exit', resolve)), left: () => readdir(join(into, 'run')) };
  };

  test('steploom launch passes a stop on, and waits until what was learnt is saved; who read its output may be gone', async () => {
    const { child, said, ended, left } = await launched(`if (step === 2) console.error('two')`);
    await said('two');
    child.stdout.destroy();
    child.stderr.destroy();
    await new Promise((goOn) => setTimeout(goOn, 500));
    child.kill('SIGHUP');
    expect(await ended).toBe(129);
    expect(await left()).toContain('pytorch_lora_weights.safetensors');
    expect((await left()).filter((name) => /^checkpoint-\d+$/.test(name))).toHaveLength(1);
  });

  test('a second Ctrl-C ends steploom launch and its processes within a second, also while a step computes', async () => {
    const { child, said, ended } = await launched(`if (step === 1) { console.error('busy', process.pid, '!'); for (;;); }`);
    const pids: number[] = [];
    let text = '';
    child.stderr.on('data', (chunk) => (text += chunk));
    while (pids.length < 2) {
      await new Promise((goOn) => setTimeout(goOn, 20));
      pids.splice(0, 2, ...[...text.matchAll(/busy (\d+) !/g)].map(([, pid]) => Number(pid)));
    }
    await said('busy');
    child.kill('SIGINT');
    await said('stopping');
    const asked = performance.now();
    child.kill('SIGINT');
    expect(await ended).toBe(130);
    expect(performance.now() - asked).toBeLessThan(2000);
    // Whose parent is gone is there until the system has taken it away.
    const isThere = (pid: number) => {
      try {
        return process.kill(pid, 0);
      } catch {
        return false;
      }
    };
    while (pids.some(isThere) && performance.now() - asked < 2000) await new Promise((goOn) => setTimeout(goOn, 20));
    expect(pids.filter(isThere)).toEqual([]);
  });

  /** Settings, and by how much the batch of one process is larger. */
  test.each([
    [2, { window: 1 }],
    [3, { window: 3 }],
    [4, { window: 1 }],
    [2, { window: 3, optimizer: 'adamw8bit', learningRate: 1e-4 }],
    [2, { window: 3, device: 'cpu' }],
  ] as [number, Record<string, unknown>][])('%i processes give what one gives with their batch: %o', async (n, settings) => {
    const several = await results(launcher, n, { ...settings, batchSize: 4 });
    const [one] = await results(launcher, 1, { ...settings, batchSize: 4 * n });
    for (const rank of several) {
      expect(rank.weights).toEqual(several[0].weights);
      expect([rank.step, rank.tensors]).toEqual([100, one.tensors]);
      // The scheduler: the same rate at step k, whatever the number of processes.
      expect(rank.rates).toEqual(one.rates);
      if (settings.optimizer === 'adamw8bit') {
        let outside = 0;
        let all = 0;
        for (const [path, values] of Object.entries(one.weights)) {
          const largest = Math.max(...values.map(Math.abs));
          for (const [i, x] of values.entries()) if (Math.abs(x - rank.weights[path][i]) > 1e-5 * largest) outside++;
          all += values.length;
        }
        expect(outside / all).toBeLessThanOrEqual(0.001);
      } else expect(gap(one, rank)).toBeLessThan(1e-5);
    }
    expect(relativeGap(several[0].losses, one.losses)).toBeLessThan(1e-5);
  });

  // Three buckets, of which some are on their way before the backward pass has ended; unless gradients change after it.
  if (hasWebGPU && launcher === found[0])
    test.each([{ window: 1 }, { window: 1, tripled: true }, { window: 2 }])(
      '2 processes on WebGPU give what one gives with their batch: %o',
      async (given) => {
        const settings = { ...given, device: 'webgpu', hidden: 400, items: 18, steps: 6, distributed: { bucketMegabytes: 0.02 } };
        const several = await results(launcher, 2, { ...settings, batchSize: 4 });
        const [one] = await results(launcher, 1, { ...settings, batchSize: 8 });
        expect(several[1].weights).toEqual(several[0].weights);
        expect(several.map(({ tensors }) => tensors)).toEqual([one.tensors, one.tensors]);
        expect(gap(one, several[0])).toBeLessThan(1e-5);
        expect(relativeGap(several[0].losses, one.losses)).toBeLessThan(1e-5);
      },
    );

  test('the main job in 2 processes is the main job', async () => {
    const several = await results(launcher, 2, { job: 'emoji', steps: 10, batchSize: 4 });
    const [one] = await results(launcher, 1, { job: 'emoji', steps: 10, batchSize: 8 });
    for (const rank of several) expect(gap(one, rank)).toBeLessThan(1e-5);
    expect(several[1].weights).toEqual(several[0].weights);
  });

  test('processes on wasm share the cores of their machine', async () => {
    const several = await results(launcher, 2, { threads: 0, steps: 5 });
    expect(several.map(({ threads }) => threads)).toEqual(Array(2).fill(Math.max(1, Math.floor(availableParallelism() / 2))));
    const [one] = await results(launcher, 1, { threads: 0, steps: 5 });
    expect(one.threads).toBe(availableParallelism());
  });

  test('running statistics of batch normalization stay equal on all ranks', async () => {
    const several = await results(launcher, 2, { job: 'layers', steps: 20, batchSize: 4, items: 24 });
    const [one] = await results(launcher, 1, { job: 'layers', steps: 20, batchSize: 8, items: 24 });
    expect(several[1].weights).toEqual(several[0].weights);
    const [mean] = Object.keys(one.weights).filter((path) => path.endsWith('moving_mean'));
    // Each rank normalizes by its own batch, so that the runs are neighbours; nobody kept the statistics of 0 and 1 they start with.
    expect(relativeGap(several[0].weights[mean], one.weights[mean])).toBeLessThan(0.2);
    expect(Math.max(...several[0].weights[mean].map(Math.abs))).toBeGreaterThan(1e-3);
  });

  test('float16 gradients, split batches and evaluation in parts', async () => {
    const several = await results(launcher, 2, { batchSize: 8, evaluate: 20, distributed: { compression: 'float16', splitBatches: true } });
    const [one] = await results(launcher, 1, { batchSize: 8, evaluate: 20 });
    expect(several[0].weights).toEqual(several[1].weights);
    expect(several[0].metrics).toEqual(several[1].metrics);
    // 11 bits: the run is a neighbour of the exact one, not it.
    expect(gap(one, several[0])).toBeLessThan(2e-2);
    expect(gap(one, several[0])).toBeGreaterThan(1e-7);
    expect(several[0].metrics['loss.held'] / one.metrics['loss.held']).toBeCloseTo(1, 2);
  });

  test('a stop asked for on one rank stops all after the same step; shards of different lengths do not hang', async () => {
    const all = await results(launcher, 3, { items: 5, batchSize: 2, epochs: 30, stopAt: { rank: 1, step: 17 } });
    expect(all.map(({ step, stopped }) => [step, stopped])).toEqual([
      [17, true],
      [17, true],
      [17, true],
    ]);
  });

  if (launcher === found[0])
    test('a stop that one rank hears of in an evaluation ends it on all; resumed, they evaluate first and end as if undisturbed', async () => {
      const settings = { steps: 12, evaluate: 4, batchSize: 1 };
      const whole = await results(launcher, 2, settings);
      const out = await folder();
      // Each rank has half of the 11 examples: in the second evaluation.
      const stopped = await results(launcher, 2, { ...settings, every: 100, out, stopInEvaluation: { rank: 1, loaded: 7 } });
      expect(stopped.map(({ step, stopped: was }) => [step, was])).toEqual([
        [8, true],
        [8, true],
      ]);
      const resumed = await results(launcher, 2, { ...settings, out, resume: 'latest' });
      for (const rank of resumed) {
        expect(rank.weights).toEqual(whole[0].weights);
        expect(rank.metrics).toEqual(whole[0].metrics);
      }
    });

  test('a snapshot of rank 0 continues the run bit for bit, with nothing in the folders of others', async () => {
    const whole = await results(launcher, 2, { steps: 30, window: 2 });
    const out = await folder();
    await results(launcher, 2, { steps: 30, window: 2, every: 7, out, stopAt: { rank: 1, step: 14 } });
    expect((await readdir(out)).filter((name) => name.startsWith('store'))).toEqual(['store-0']);
    const resumed = await results(launcher, 2, { steps: 30, window: 2, out, resume: 'latest' });
    expect(resumed[0].losses).toEqual(whole[0].losses.slice(14));
    // Another number of processes is noticed.
    const alone = await ranks(launcher, 1, { steps: 30, window: 2, out, resume: 'latest' });
    expect(alone.output).toMatch(/SNAPSHOT_OTHER_RUN.*worldSize was 2, is 1/);
    for (const rank of resumed) expect(rank.weights).toEqual(whole[0].weights);
  });

  test('a stop inside a window is agreed on: all drop it, rank 0 saves what the last step left, and the run goes on from there', async () => {
    const settings = { steps: 12, window: 6, batchSize: 1 };
    const whole = await results(launcher, 2, settings);
    const out = await folder();
    const stopped = await results(launcher, 2, { ...settings, every: 100, atEnd: true, out, stopInside: { rank: 1, step: 5, index: 2 } });
    expect(stopped.map(({ step, stopped: was }) => [step, was])).toEqual([
      [5, true],
      [5, true],
    ]);
    expect(await readdir(join(out, 'store-0'))).toEqual(['checkpoint-5']);
    const resumed = await results(launcher, 2, { ...settings, out, resume: 'latest' });
    for (const rank of resumed) expect(rank.weights).toEqual(whole[0].weights);
  });

  test.each([
    ['throw', /rank 1 of 2: error HOOK_THREW .*the fault of this test.*rank 1 of 2: {2}at \S+:\d+/s],
    ['kill', /./],
    ['exit', /rank 1 of 2: error RANK_LOST.*ended before the run did/],
  ])('a rank that goes by %s ends the job', async (kind, said) => {
    const { code, output, seconds } = await ranks(launcher, 2, { out: await folder(), steps: 100_000, fault: { rank: 1, step: 20, kind } });
    expect(code).not.toBe(0);
    expect(output).toMatch(said);
    expect(seconds).toBeLessThan(15);
  });

  test.each([
    ['hang', 1, /RANK_LOST.*rank 1 did not come to collective call \d+ within 2 s, where rank 0 waited/],
    ['hang', 0, /RANK_LOST.*rank 0 did not come to collective call \d+ within 2 s, where rank 1 waited/],
    ['stop', 1, /RANK_LOST.*rank 1 did not/],
    ['stop', 0, /RANK_LOST.*rank 0 did not answer rank 1 for 2 s/],
  ])('a rank that is caught by %s (rank %i) is named', async (kind, rank, said) => {
    const { code, output, seconds } = await ranks(launcher, 2, {
      out: await folder(),
      steps: 100_000,
      timeout: 2,
      fault: { rank, step: 20, kind },
    });
    expect(output).toMatch(said);
    expect(code).not.toBe(0);
    expect(seconds).toBeLessThan(25);
  });

  test.each([
    [{ seed: 4 }, /RANKS_DIFFER.*seed is 3 on rank 0 and 4 on rank 1/],
    [{ learningRate: 1 }, /RANKS_DIFFER.*learningRate is 0.005 on rank 0 and 1 on rank 1/],
    [{ version: '2' }, /RANKS_DIFFER.*version is "1" on rank 0 and "2" on rank 1/],
    [{ shift: 1 }, /RANKS_DIFFER.*the data set of rank 1 is not rank 0's/],
  ])('another %o on one rank is an error at start', async (differ, said) => {
    const { code, output } = await ranks(launcher, 2, { out: await folder(), differ: { rank: 1, ...differ } });
    expect(code).not.toBe(0);
    expect(output).toMatch(said);
  });

  test('weights that drift apart are named with rank, parameter and step', async () => {
    const { code, output } = await ranks(launcher, 2, { out: await folder(), checkEvery: 5, fault: { rank: 1, step: 7, kind: 'differ' } });
    expect(code).not.toBe(0);
    expect(output).toMatch(/RANKS_DIVERGED.*before step 11 rank 1 differs from rank 0 in .*bias/);
  });
});

describe.skipIf(found.length === 0)('steploom launch', () => {
  test('trains in two processes, and rank 0 alone writes', async () => {
    const out = await folder();
    const { code, output } = await ran(process.execPath, [
      ...[cli, 'launch', '--processes', '2', '--mpirun', found[0].path, '--', 'train', 'emoji', '--device', 'wasm'],
      ...['--max_train_steps', '3', '--lr_warmup_steps', '1', '--held_out', '2', '--num_inference_steps', '2', '--scale_lr'],
      ...['--train_batch_size', '4', '--learning_rate', '1e-4', '--output_dir', out],
    ]);
    expect(output).toContain('training on wasm');
    expect(output.match(/training on/g)).toHaveLength(1);
    expect(output).toContain('is scaled to 0.0008 (accumulation 1 x batch 4 x processes 2)');
    expect(code).toBe(0);
    expect((await readdir(out)).sort()).toContain('pytorch_lora_weights.safetensors');
  });
});
