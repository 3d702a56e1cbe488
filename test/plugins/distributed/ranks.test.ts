import { readdir } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { relativeGap, testDevices } from '../../support/devices.js';
import { folder, type Launcher, launchers, type RankResult, ranks, results, type Settings } from '../../support/mpi.js';

const gap = (a: RankResult, b: RankResult): number =>
  Math.max(...Object.keys(a.weights).map((path) => relativeGap(b.weights[path], a.weights[path])));

const found = launchers();
const hasWebGPU = (await testDevices()).includes('webgpu');

// Starting costs more than a small run does: all runs of so many ranks are made in one start, and those of one process too.
const small = { window: 1, batchSize: 4 };
const onWebGPU = { device: 'webgpu', hidden: 400, items: 18, steps: 6, batchSize: 4, distributed: { bucketMegabytes: 0.02 } };

/** Runs of as many ranks as the key says, which one process makes with their batch. */
const compared: Record<number, Record<string, Settings & { batchSize: number }>> = {
  2: {
    small,
    'windows, on another device': { window: 3, batchSize: 4, device: 'cpu' },
    '8 bits': { window: 3, optimizer: 'adamw8bit', learningRate: 1e-4, batchSize: 4 },
    'the main job': { job: 'emoji', steps: 4, batchSize: 4 },
    ...(hasWebGPU
      ? {
          webgpu: { ...onWebGPU, window: 1 },
          'webgpu, gradients changed': { ...onWebGPU, window: 1, tripled: true },
          'webgpu, windows': { ...onWebGPU, window: 2 },
        }
      : {}),
    layers: { job: 'layers', steps: 20, batchSize: 4, items: 24 },
  },
  3: { 'small, windows': { window: 3, batchSize: 4, steps: 30 } },
  4: { small: { ...small, steps: 30 } },
};
const evaluated = { batchSize: 8, evaluate: 20, steps: 60 };
const ownThreads = { threads: 0, steps: 5 };
/** Runs that are made twice, with the optimizer's state shared out and without. */
const twice = {
  windows: { window: 2, batchSize: 4, steps: 20, ema: true, every: 10 },
  '8 bits': { optimizer: 'adamw8bit', learningRate: 1e-4, batchSize: 4, steps: 20 },
  adapters: { job: 'adapters', batchSize: 2, steps: 3 },
};
const shardOptimizer = { distributed: { shardOptimizer: true } };
/** Three ranks go on from what two saved. */
const goingOn = (out: string) => ({
  ...twice.windows,
  every: 0,
  steps: 30,
  resume: join(out, 'store-0', 'checkpoint-20'),
  overrides: ['worldSize'],
});
const stops = { items: 5, batchSize: 2, epochs: 30, stopAt: { rank: 1, step: 17 } };

/** Runs that are stopped: how, and after which step. */
const stopped: Record<string, { settings: Settings; stop: object; after: number }> = {
  'between steps': { settings: { steps: 30, window: 2 }, stop: { every: 7, stopAt: { rank: 1, step: 14 } }, after: 14 },
  'in a window': {
    settings: { steps: 12, window: 6, batchSize: 1 },
    stop: { every: 100, atEnd: true, stopInside: { rank: 1, step: 5, index: 2 } },
    after: 5,
  },
  // Each rank has half of the 11 examples: the stop comes in the second evaluation. Resumed, they evaluate first.
  'in an evaluation': {
    settings: { steps: 12, evaluate: 4, batchSize: 1 },
    stop: { every: 100, stopInEvaluation: { rank: 1, loaded: 7 } },
    after: 8,
  },
};

/** Makes runs in one start; gives, by their names, what each rank noted. */
async function made(
  launcher: Launcher,
  processes: number,
  runs: Readonly<Record<string, Settings>>,
): Promise<Record<string, RankResult[]>> {
  const all = await results(launcher, processes, Object.values(runs));
  return Object.fromEntries(Object.keys(runs).map((name, i) => [name, all[i]]));
}

/** What one process makes of what ranks are compared with, for all launchers. */
let one: Record<string, RankResult[]> = {};
beforeAll(async () => {
  if (found.length === 0) return;
  const runs = Object.entries(compared).flatMap(([n, named]) =>
    Object.entries(named).map(([name, settings]): [string, Settings] => [
      `${n}: ${name}`,
      { ...settings, distributed: undefined, batchSize: Number(n) * settings.batchSize },
    ]),
  );
  // Tensors are counted: what is left of the layers of a model comes last.
  runs.sort(([a], [b]) => Number(a === '2: layers') - Number(b === '2: layers'));
  one = await made(found[0], 1, { evaluated, ...Object.fromEntries(runs) });
}, 300_000);

/** That ranks have one and the same, and what one process has. */
function expectSame(several: RankResult[], [alone]: RankResult[], bound = 1e-5): void {
  for (const rank of several) {
    expect(rank.weights).toEqual(several[0].weights);
    expect([rank.step, rank.tensors]).toEqual([alone.step, alone.tensors]);
    // The scheduler: the same rate at step k, whatever the number of processes.
    expect(rank.rates).toEqual(alone.rates);
  }
  expect(gap(alone, several[0])).toBeLessThan(bound);
  expect(relativeGap(several[0].losses, alone.losses)).toBeLessThan(bound);
}

/** That ranks that share the state out have the weights that ranks without have, and among them one state. */
function expectShared(several: RankResult[], whole: RankResult[]): void {
  for (const rank of several) {
    expect(rank.weights).toEqual(several[0].weights);
    expect([rank.step, rank.tensors, rank.losses]).toEqual([whole[0].step, whole[0].tensors, several[0].losses]);
  }
  expect(gap(whole[0], several[0])).toBeLessThan(1e-6);
  expect(relativeGap(several[0].losses, whole[0].losses)).toBeLessThan(1e-6);
  // Beside two counters and their inverses, which all have.
  const [counters, all] = [16, whole[0].stateBytes];
  expect(several.reduce((sum, { stateBytes }) => sum + stateBytes - counters, counters)).toBe(all);
  expect(Math.max(...several.map(({ stateBytes }) => stateBytes))).toBeLessThan(0.6 * all);
}

// The arithmetic is the same whoever carries it: all of it on the first make, and one run of each kind of call on the others.
describe.each(found.map((launcher) => [launcher.name, launcher] as const))('under %s', (_, launcher) => {
  const isFirst = launcher === found[0];
  let two: Record<string, RankResult[]>;
  let three: Record<string, RankResult[]>;
  const outs: Record<string, string> = {};
  beforeAll(async () => {
    for (const name of [...Object.keys(stopped), 'whole', 'shared out']) outs[name] = await folder();
    two = await made(launcher, 2, {
      ...(isFirst ? { ownThreads } : {}),
      evaluated: { ...evaluated, distributed: { compression: 'float16', splitBatches: true } },
      ...Object.fromEntries(Object.entries(stopped).map(([name, { settings }]) => [`whole: ${name}`, settings])),
      ...Object.fromEntries(
        Object.entries(stopped).map(([name, { settings, stop }]) => [`stopped ${name}`, { ...settings, ...stop, out: outs[name] }]),
      ),
      ...(isFirst
        ? {
            'windows, whole': { ...twice.windows, out: outs.whole },
            'windows, shared out': { ...twice.windows, ...shardOptimizer, out: outs['shared out'] },
            '8 bits, whole': twice['8 bits'],
            '8 bits, shared out': { ...twice['8 bits'], ...shardOptimizer },
            'adapters, whole': twice.adapters,
            'adapters, shared out': { ...twice.adapters, ...shardOptimizer },
            ...compared[2],
          }
        : { small }),
    });
    three = await made(launcher, 3, {
      stops,
      ...(isFirst
        ? {
            ...compared[3],
            'shared out': { ...compared[3]['small, windows'], ...shardOptimizer },
            'going on, whole': goingOn(outs.whole),
            'going on, shared out': { ...goingOn(outs['shared out']), ...shardOptimizer },
            'going on from what was shared out': goingOn(outs['shared out']),
          }
        : {}),
    });
  }, 300_000);

  if (isFirst)
    test('3 processes give what one gives with their batch', () => {
      expectSame(three['small, windows'], one['3: small, windows']);
      expect(one['3: small, windows'][0].step).toBe(30);
    });

  if (isFirst)
    test('4 processes give what one gives with their batch', async () => {
      const four = await made(launcher, 4, { ...compared[4], 'shared out': { ...compared[4].small, ...shardOptimizer } });
      expectSame(four.small, one['4: small']);
      // One of them has no tensor of three.
      expectShared(four['shared out'], four.small);
      expect(one['4: small'][0].step).toBe(30);
    });

  test.each(['small', ...(isFirst ? ['windows, on another device', 'the main job'] : [])])(
    '2 processes give what one gives with their batch: %s',
    (name) => {
      expectSame(two[name], one[`2: ${name}`]);
      if (name === 'small') expect(two[name][0].step).toBe(40);
    },
  );

  if (isFirst)
    test('2 processes give what one gives with their batch: 8 bits', () => {
      const [several, [alone]] = [two['8 bits'], one['2: 8 bits']];
      expect(several[1].weights).toEqual(several[0].weights);
      expect(relativeGap(several[0].losses, alone.losses)).toBeLessThan(1e-5);
      let outside = 0;
      let values = 0;
      for (const [path, expected] of Object.entries(alone.weights)) {
        const largest = Math.max(...expected.map(Math.abs));
        for (const [i, x] of expected.entries()) if (Math.abs(x - several[0].weights[path][i]) > 1e-5 * largest) outside++;
        values += expected.length;
      }
      expect(outside / values).toBeLessThanOrEqual(0.001);
    });

  // Three buckets, of which some are on their way before the backward pass has ended; unless gradients change after it.
  test.each(isFirst ? Object.keys(compared[2]).filter((name) => name.startsWith('webgpu')) : [])(
    '2 processes on WebGPU give what one gives with their batch: %s',
    (name) => expectSame(two[name], one[`2: ${name}`]),
  );

  if (isFirst)
    test('processes that share out the optimizer’s state have the weights of those that do not, and go on as another number', () => {
      expectShared(two['windows, shared out'], two['windows, whole']);
      expectShared(two['8 bits, shared out'], two['8 bits, whole']);
      expectShared(two['adapters, shared out'], two['adapters, whole']);
      expectShared(three['shared out'], three['small, windows']);
      expectShared(three['going on, shared out'], three['going on, whole']);
      expect(three['going on, shared out'][0].step).toBe(30);
      expect(gap(three['going on, whole'][0], three['going on from what was shared out'][0])).toBeLessThan(1e-6);
    });

  test('float16 gradients, split batches and evaluation in parts', () => {
    const [several, [alone]] = [two.evaluated, one.evaluated];
    expect(several[0].weights).toEqual(several[1].weights);
    expect(several[0].metrics).toEqual(several[1].metrics);
    // 11 bits: the run is a neighbour of the exact one, not it.
    expect(gap(alone, several[0])).toBeLessThan(2e-2);
    expect(gap(alone, several[0])).toBeGreaterThan(1e-7);
    expect(several[0].metrics['loss.held'] / alone.metrics['loss.held']).toBeCloseTo(1, 2);
  });

  test('a stop asked for on one rank stops all after the same step; shards of different lengths do not hang', () => {
    expect(three.stops.map(({ step, stopped: was }) => [step, was])).toEqual(Array(3).fill([17, true]));
  });

  if (isFirst)
    test('running statistics of batch normalization stay equal on all ranks', () => {
      const [several, [alone]] = [two.layers, one['2: layers']];
      expect(several[1].weights).toEqual(several[0].weights);
      const [mean] = Object.keys(alone.weights).filter((path) => path.endsWith('moving_mean'));
      // Each rank normalizes by its own batch, so that the runs are neighbours; nobody kept the statistics of 0 and 1 they start with.
      expect(relativeGap(several[0].weights[mean], alone.weights[mean])).toBeLessThan(0.2);
      expect(Math.max(...several[0].weights[mean].map(Math.abs))).toBeGreaterThan(1e-3);
    });

  if (isFirst)
    test('processes on wasm share the cores of their machine', async () => {
      // In a process of its own: the first run's threads are those of all.
      const alone = await made(launcher, 1, { ownThreads });
      expect(two.ownThreads.map(({ threads }) => threads)).toEqual(Array(2).fill(Math.max(1, Math.floor(availableParallelism() / 2))));
      expect(alone.ownThreads[0].threads).toBe(availableParallelism());
    });

  test('runs that are stopped go on bit for bit from what rank 0 saved, with nothing in the folders of others', async () => {
    for (const [name, { after }] of Object.entries(stopped)) {
      expect(two[`stopped ${name}`].map(({ step, stopped: was }) => [step, was])).toEqual(Array(2).fill([after, true]));
      expect((await readdir(outs[name])).filter((file) => file.startsWith('store'))).toEqual(['store-0']);
    }
    // What the last step left.
    expect(await readdir(join(outs['in a window'], 'store-0'))).toEqual(['checkpoint-5']);
    const resumed = await made(
      launcher,
      2,
      Object.fromEntries(Object.entries(stopped).map(([name, { settings }]) => [name, { ...settings, out: outs[name], resume: 'latest' }])),
    );
    for (const [name, { after }] of Object.entries(stopped)) {
      const [whole] = two[`whole: ${name}`];
      for (const rank of resumed[name]) {
        expect(rank.weights).toEqual(whole.weights);
        expect(rank.metrics).toEqual(whole.metrics);
        expect(rank.losses).toEqual(whole.losses.slice(after));
      }
    }
    if (isFirst) {
      const alone = await ranks(launcher, 1, { ...stopped['between steps'].settings, out: outs['between steps'], resume: 'latest' });
      expect(alone.output).toMatch(/SNAPSHOT_OTHER_RUN.*worldSize was 2, is 1/);
    }
  });
});
