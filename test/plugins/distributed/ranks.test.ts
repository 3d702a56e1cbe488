import { readdir } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { relativeGap, testDevices } from '../../support/devices.js';
import { folder, launchers, type RankResult, ranks, results, type Settings } from '../../support/mpi.js';

const gap = (a: RankResult, b: RankResult): number =>
  Math.max(...Object.keys(a.weights).map((path) => relativeGap(b.weights[path], a.weights[path])));

const found = launchers();
const hasWebGPU = (await testDevices()).includes('webgpu');

/** Runs of `processes` ranks, made in one start, and each as one process makes it that has their batch. */
interface Compared {
  readonly several: RankResult[];
  readonly one: RankResult;
}
type Compare = (launcher: (typeof found)[number], processes: number, runs: readonly Settings[], alone?: Settings) => Promise<Compared[]>;
const compared: Compare = async (launcher, processes, runs, alone = {}) => {
  const single = runs.map((settings) => ({
    ...settings,
    distributed: undefined,
    ...alone,
    batchSize: processes * (settings.batchSize as number),
  }));
  const [several, one] = [await results(launcher, processes, runs), await results(launcher, 1, single)];
  return several.map((ranksOfRun, i) => ({ several: ranksOfRun, one: one[i][0] }));
};

/** That ranks have one and the same, and what one process has. */
function expectSame({ several, one }: Compared, bound = 1e-5): void {
  for (const rank of several) {
    expect(rank.weights).toEqual(several[0].weights);
    expect([rank.step, rank.tensors]).toEqual([one.step, one.tensors]);
    // The scheduler: the same rate at step k, whatever the number of processes.
    expect(rank.rates).toEqual(one.rates);
  }
  expect(gap(one, several[0])).toBeLessThan(bound);
  expect(relativeGap(several[0].losses, one.losses)).toBeLessThan(bound);
}

// The arithmetic is the same whoever carries it: all of it on the first make, and one run of each kind of call on the others.
describe.each(found.map((launcher) => [launcher.name, launcher] as const))('under %s', (_, launcher) => {
  const isFirst = launcher === found[0];

  test.each(isFirst ? [3, 4] : [])('%i processes give what one gives with their batch', async (n) => {
    const [run] = await compared(launcher, n, [{ window: n === 3 ? 3 : 1, batchSize: 4 }]);
    expectSame(run);
    expect(run.one.step).toBe(100);
  });

  test('2 processes give what one gives with their batch: windows, 8 bits, another device', async () => {
    const small = { window: 1, batchSize: 4 };
    const eightBit = { window: 3, optimizer: 'adamw8bit', learningRate: 1e-4, batchSize: 4 };
    const all = await compared(launcher, 2, isFirst ? [small, { ...small, window: 3, device: 'cpu' }, eightBit] : [small]);
    for (const run of all.slice(0, 2)) expectSame(run);
    expect(all[0].one.step).toBe(100);
    for (const { several, one } of all.slice(2)) {
      expect(several[1].weights).toEqual(several[0].weights);
      expect(relativeGap(several[0].losses, one.losses)).toBeLessThan(1e-5);
      let outside = 0;
      let values = 0;
      for (const [path, expected] of Object.entries(one.weights)) {
        const largest = Math.max(...expected.map(Math.abs));
        for (const [i, x] of expected.entries()) if (Math.abs(x - several[0].weights[path][i]) > 1e-5 * largest) outside++;
        values += expected.length;
      }
      expect(outside / values).toBeLessThanOrEqual(0.001);
    }
  });

  if (isFirst)
    test('the main job in 2 processes is the main job', async () => {
      const [run] = await compared(launcher, 2, [{ job: 'emoji', steps: 10, batchSize: 4 }]);
      expectSame(run);
    });

  test('float16 gradients, split batches and evaluation in parts', async () => {
    const settings = { batchSize: 8, evaluate: 20, steps: 60 };
    const [several] = await results(launcher, 2, [{ ...settings, distributed: { compression: 'float16', splitBatches: true } }]);
    const [[one]] = await results(launcher, 1, [settings]);
    expect(several[0].weights).toEqual(several[1].weights);
    expect(several[0].metrics).toEqual(several[1].metrics);
    // 11 bits: the run is a neighbour of the exact one, not it.
    expect(gap(one, several[0])).toBeLessThan(2e-2);
    expect(gap(one, several[0])).toBeGreaterThan(1e-7);
    expect(several[0].metrics['loss.held'] / one.metrics['loss.held']).toBeCloseTo(1, 2);
  });

  test('a stop asked for on one rank stops all after the same step; shards of different lengths do not hang', async () => {
    const [all] = await results(launcher, 3, [{ items: 5, batchSize: 2, epochs: 30, stopAt: { rank: 1, step: 17 } }]);
    expect(all.map(({ step, stopped }) => [step, stopped])).toEqual(Array(3).fill([17, true]));
  });

  // Three buckets, of which some are on their way before the backward pass has ended; unless gradients change after it.
  if (isFirst && hasWebGPU)
    test('2 processes on WebGPU give what one gives with their batch', async () => {
      const settings = { device: 'webgpu', hidden: 400, items: 18, steps: 6, batchSize: 4, distributed: { bucketMegabytes: 0.02 } };
      const given = [{ window: 1 }, { window: 1, tripled: true }, { window: 2 }];
      const all = await compared(
        launcher,
        2,
        given.map((more) => ({ ...settings, ...more })),
      );
      for (const run of all) expectSame(run);
    });

  if (isFirst)
    test('running statistics of batch normalization stay equal on all ranks', async () => {
      const [{ several, one }] = await compared(launcher, 2, [{ job: 'layers', steps: 20, batchSize: 4, items: 24 }]);
      expect(several[1].weights).toEqual(several[0].weights);
      const [mean] = Object.keys(one.weights).filter((path) => path.endsWith('moving_mean'));
      // Each rank normalizes by its own batch, so that the runs are neighbours; nobody kept the statistics of 0 and 1 they start with.
      expect(relativeGap(several[0].weights[mean], one.weights[mean])).toBeLessThan(0.2);
      expect(Math.max(...several[0].weights[mean].map(Math.abs))).toBeGreaterThan(1e-3);
    });

  if (isFirst)
    test('processes on wasm share the cores of their machine', async () => {
      const [several] = await results(launcher, 2, [{ threads: 0, steps: 5 }]);
      expect(several.map(({ threads }) => threads)).toEqual(Array(2).fill(Math.max(1, Math.floor(availableParallelism() / 2))));
      const [[one]] = await results(launcher, 1, [{ threads: 0, steps: 5 }]);
      expect(one.threads).toBe(availableParallelism());
    });

  // One start makes the whole runs and those that are stopped, another goes on with these.
  test('runs that are stopped go on bit for bit from what rank 0 saved, with nothing in the folders of others', async () => {
    const atStep = { steps: 30, window: 2 };
    const inWindow = { steps: 12, window: 6, batchSize: 1 };
    // Each rank has half of the 11 examples: the stop comes in the second evaluation. Resumed, they evaluate first.
    const inEvaluation = { steps: 12, evaluate: 4, batchSize: 1 };
    const outs = [await folder(), await folder(), await folder()];
    const runs = [
      { settings: atStep, stop: { every: 7, stopAt: { rank: 1, step: 14 } }, after: 14 },
      { settings: inWindow, stop: { every: 100, atEnd: true, stopInside: { rank: 1, step: 5, index: 2 } }, after: 5 },
      { settings: inEvaluation, stop: { every: 100, stopInEvaluation: { rank: 1, loaded: 7 } }, after: 8 },
    ];
    const made = await results(launcher, 2, [
      ...runs.map(({ settings }) => settings),
      ...runs.map(({ settings, stop }, i) => ({ ...settings, ...stop, out: outs[i] })),
    ]);
    const [whole, stopped] = [made.slice(0, 3), made.slice(3)];
    for (const [i, { after }] of runs.entries()) {
      expect(stopped[i].map(({ step, stopped: was }) => [step, was])).toEqual(Array(2).fill([after, true]));
      expect((await readdir(outs[i])).filter((name) => name.startsWith('store'))).toEqual(['store-0']);
    }
    // What the last step left.
    expect(await readdir(join(outs[1], 'store-0'))).toEqual(['checkpoint-5']);
    if (isFirst) {
      const alone = await ranks(launcher, 1, { ...atStep, out: outs[0], resume: 'latest' });
      expect(alone.output).toMatch(/SNAPSHOT_OTHER_RUN.*worldSize was 2, is 1/);
    }
    const resumed = await results(
      launcher,
      2,
      runs.map(({ settings }, i) => ({ ...settings, out: outs[i], resume: 'latest' })),
    );
    for (const [i, { after }] of runs.entries())
      for (const rank of resumed[i]) {
        expect(rank.weights).toEqual(whole[i][0].weights);
        expect(rank.metrics).toEqual(whole[i][0].metrics);
        expect(rank.losses).toEqual(whole[i][0].losses.slice(after));
      }
  });
});
