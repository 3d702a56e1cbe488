import { readFile } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import { COLLECTIVE, compose, oneProcess, type Plugin, type Sum, type Tensors, Trainer } from '../../core/index.js';
import { makePlan, microBatches, positionOf } from '../../core/plan.js';
import * as tf from '../../core/tf.js';
import { accumulation } from '../../plugins/gradients/accumulation.js';
import { clipping } from '../../plugins/gradients/clipping.js';
import { nonFiniteGuard } from '../../plugins/gradients/non-finite-guard.js';
import { sgd } from '../../plugins/optimizers/sgd.js';
import { cosine } from '../../plugins/schedules/cosine.js';
import { warmup } from '../../plugins/schedules/warmup.js';
import { ema } from '../../plugins/weights/ema.js';
import { memoryStore, smallRun, stopAfter, weightsRecorder } from '../support/small-run.js';

describe('counting', () => {
  const plan = (items: number, batchSize: number, windowLength: number, epochs = 2) =>
    makePlan({ epochs, warmupSteps: 0, windowLength, batchSize, items, worldSize: 1, microBatchesPerEpoch: Math.ceil(items / batchSize) });

  test.each([
    [12, 4, 1, 3, [1, 1, 1]],
    [13, 4, 1, 4, [1, 1, 1, 1]],
    [13, 4, 2, 2, [2, 2]],
    [20, 4, 2, 3, [2, 2, 1]],
    [3, 4, 3, 1, [1]],
    [1, 1, 1, 1, [1]],
  ])('%i items, batch %i, window %i: %i steps an epoch', (items, batch, window, steps, windows) => {
    const made = plan(items, batch, window);
    expect(made.stepsPerEpoch).toBe(steps);
    expect(made.steps).toBe(2 * steps);
    const all = Array.from({ length: made.steps }, (_, s) => positionOf(made, s));
    expect(all.map((at) => microBatches(made, at).length)).toEqual([...windows, ...windows]);
    expect(all.filter((at) => at.endsEpoch).map((at) => at.step)).toEqual([steps - 1, 2 * steps - 1]);
    for (const at of all)
      expect(
        microBatches(made, at)
          .map((m) => m.endsWindow)
          .indexOf(true),
      ).toBe(microBatches(made, at).length - 1);
  });
});

test('hooks run in the order of docs/loop.md', async () => {
  const seen: string[] = [];
  const note =
    <T>(hook: string) =>
    (value: T): T => {
      seen.push(hook);
      return value;
    };
  const look = (hook: string) => () => {
    seen.push(hook);
    return undefined;
  };
  const spy: Plugin = {
    name: 'spy',
    apply({ hooks, request }) {
      for (const hook of [
        'validate',
        'onStart',
        'beforeEpoch',
        'afterUpdate',
        'afterStep',
        'onRecord',
        'onCheckpoint',
        'afterEpoch',
        'onEnd',
        'onDispose',
        'onGradient',
      ] as const)
        hooks[hook].tap('spy', look(hook));
      for (const hook of [
        'onBatch',
        'onLoss',
        'scaleLoss',
        'afterBackward',
        'onAccumulate',
        'onRequest',
        'onUnscale',
        'onSchedule',
        'beforeStep',
        'onWeights',
        'prepareOptimizer',
      ] as const)
        (hooks[hook] as { tap(fn: (value: unknown) => unknown): void }).tap(note(hook));
      for (const hook of ['prepareData', 'prepareModel', 'shareModel', 'onSync', 'onEvaluate', 'onLog', 'beforeCheckpoint'] as const)
        (hooks[hook] as { tap(fn: (value: unknown) => unknown): void }).tap(note(hook));
      hooks.shouldLog.tap('spy', () => {
        seen.push('shouldLog');
        return true;
      });
      request('evaluate');
      request('checkpoint');
    },
  };
  await new Trainer(smallRun({ steps: 1, items: 4 }).with(spy)).train();
  const page = await readFile(new URL('../../docs/loop.md', import.meta.url), 'utf8');
  const block = /```text\n([\s\S]*?)```/.exec(page)?.[1] ?? '';
  const documented = [...block.matchAll(/\b(validate|should\w+|prepare\w+|share\w+|scaleLoss|(?:on|before|after)[A-Z]\w*)\b/g)].map(
    (m) => m[1],
  );
  const conditional = ['onError', 'onWeights'];
  const expected = documented.filter((hook) => !conditional.includes(hook));
  // onRecord of the log is written in the background, and may come later than the next hook.
  const background = (list: string[]) => list.filter((hook) => hook !== 'onRecord');
  // Of two parameters.
  expect(seen.filter((hook) => hook === 'onGradient')).toHaveLength(2);
  seen.splice(seen.indexOf('onGradient'), 1);
  expect(background(seen)).toEqual(background(expected));
  expect(seen).toContain('onRecord');
});

test('the loop in docs/loop.md is the loop in core/loop.ts', async () => {
  const source = await readFile(new URL('../../core/loop.ts', import.meta.url), 'utf8');
  const page = await readFile(new URL('../../docs/loop.md', import.meta.url), 'utf8');
  const loop = source.slice(source.indexOf('export async function loop'));
  const called = [...loop.matchAll(/hooks\.(\w+)\./g)].map((m) => m[1]);
  const block = /```text\n([\s\S]*?)```/.exec(page)?.[1] ?? '';
  const documented = [...block.matchAll(/\b(\w+)\b/g)].map((m) => m[1]);
  for (const hook of called) expect(documented, hook).toContain(hook);
  expect(loop.split('\n').length).toBeLessThan(50);
});

describe('windows', () => {
  const weights = async (plugins: ReturnType<typeof smallRun>) => {
    const recorder = weightsRecorder();
    await new Trainer(plugins.with(recorder.plugin)).train();
    return recorder;
  };

  test('a window of small batches is one large batch, also when the last is short', async () => {
    for (const items of [12, 13, 10, 7]) {
      const accumulated = await weights(smallRun({ items, batchSize: 2, epochs: 3 }).with(accumulation(2), sgd()));
      const whole = await weights(smallRun({ items, batchSize: 4, epochs: 3 }).with(sgd()));
      expect(accumulated.steps).toHaveLength(whole.steps.length);
      for (const [i, step] of whole.steps.entries())
        for (const path of ['w', 'b']) for (const [j, x] of step[path].entries()) expect(accumulated.steps[i][path][j]).toBeCloseTo(x, 5);
      for (const [i, loss] of whole.losses.entries()) expect(accumulated.losses[i]).toBeCloseTo(loss, 5);
    }
  });

  test("partialWindow 'accelerate' divides a short window by the whole length", async () => {
    const step = async (mode: 'items' | 'accelerate') => {
      const seen: { items: number; gradient: number }[] = [];
      const spy: Plugin = {
        name: 'spy',
        apply: ({ hooks }) =>
          hooks.beforeStep.tap('spy', (update) => {
            seen.push({ items: 0, gradient: (update.gradients.w.dataSync()[0] as number) * (update.scale as number) });
            return update;
          }),
      };
      await new Trainer(
        smallRun({ items: 6, batchSize: 2, epochs: 1, learningRate: 0, shuffle: false }).with(
          accumulation(2, { partialWindow: mode }),
          sgd(),
          spy,
        ),
      ).train();
      return seen.map((s) => s.gradient);
    };
    const [items, accelerate] = [await step('items'), await step('accelerate')];
    expect(accelerate[0]).toBeCloseTo(items[0], 6);
    expect(accelerate[1]).toBeCloseTo(items[1] / 2, 6);
  });
});

/** Two ranks in one process: they meet at every collective call. */
function pair() {
  const waiting: { values: number[]; go: (() => void)[] }[] = [];
  const meet = async (call: number, rank: number, value: number): Promise<number[]> => {
    waiting[call] ??= { values: [], go: [] };
    const room = waiting[call];
    room.values[rank] = value;
    await new Promise<void>((resolve) => {
      room.go.push(resolve);
      if (room.go.length === 2) for (const go of room.go) go();
    });
    return room.values;
  };
  const sums: { sums: (Sum & { requests: Record<string, number> })[]; go: ((sum: never) => void)[] }[] = [];
  return (rank: number): Plugin[] => {
    let calls = 0;
    let step = 0;
    const collective: Plugin = {
      ...oneProcess(),
      name: 'pair',
      fills: COLLECTIVE,
      rank,
      worldSize: 2,
      sum: async (x) => (await meet(calls++, rank, x)).reduce((a, b) => a + b),
      max: async (x) => Math.max(...(await meet(calls++, rank, x))),
      apply({ hooks }) {
        hooks.onSync.tapPromise('pair', async (own) => {
          sums[step] ??= { sums: [], go: [] };
          const room = sums[step++];
          room.sums[rank] = own as never;
          const all = await new Promise<typeof room.sums>((resolve) => {
            room.go.push(resolve as never);
            if (room.go.length === 2) for (const go of room.go) go(room.sums as never);
          });
          const gradients: Tensors = {};
          for (const path of Object.keys(own.gradients)) gradients[path] = tf.add(all[0].gradients[path], all[1].gradients[path]);
          const loss = all[0].loss.add(all[1].loss) as tf.Scalar;
          const [a, b] = all.map((s) => s.requests);
          return {
            gradients,
            loss,
            items: all[0].items + all[1].items,
            requests: {
              stop: a.stop + b.stop,
              checkpoint: a.checkpoint + b.checkpoint,
              evaluate: a.evaluate + b.evaluate,
              abandon: a.abandon + b.abandon,
            },
          };
        });
      },
    };
    return [collective];
  };
}

describe('two ranks', () => {
  /** Rank 0 has the first examples, rank 1 the rest. */
  const shard = (rank: number, first: number): Plugin => ({
    name: 'shard',
    apply: ({ hooks }) =>
      hooks.prepareData.tap('shard', (source) => {
        const ids = Array.from({ length: source.items }, (_, i) => i).slice(...(rank === 0 ? [0, first] : [first]));
        return { ...source, items: ids.length, ids: () => ids };
      }),
  });

  test('uneven shards take part in every window, and give what one rank gives', async () => {
    const ranks = pair();
    const recorders = [weightsRecorder(), weightsRecorder()];
    await Promise.all(
      [0, 1].map((rank) =>
        new Trainer(
          smallRun({ items: 12, batchSize: 2, epochs: 2 }).with(sgd(), ...ranks(rank), shard(rank, 8), recorders[rank].plugin),
        ).train(),
      ),
    );
    expect(recorders[0].steps).toHaveLength(8);
    expect(recorders[0].steps).toEqual(recorders[1].steps);
    // Steps 3 and 4 of an epoch see rank 0's data alone; each item weighs the same.
    expect(recorders[0].losses).toEqual(recorders[1].losses);
  });

  test('a stop asked for on one rank stops both after the same step', async () => {
    const ranks = pair();
    const results = await Promise.all(
      [0, 1].map((rank) =>
        new Trainer(
          smallRun({ items: 12, batchSize: 2, epochs: 5 }).with(...ranks(rank), shard(rank, 6), ...(rank === 1 ? [stopAfter(4)] : [])),
        ).train(),
      ),
    );
    expect(results.map((r) => [r.step, r.stopped])).toEqual([
      [4, true],
      [4, true],
    ]);
  });

  test('a problem on one rank ends both', async () => {
    const ranks = pair();
    const bad: Plugin = {
      name: 'bad',
      apply: ({ hooks }) =>
        hooks.validate.tap('bad', (problems) => {
          problems.add('OPTION_INVALID', 'bad', 'x', 'y');
        }),
    };
    const good: Plugin = { name: 'good' };
    const errors = await Promise.all(
      [0, 1].map((rank) => new Trainer(smallRun().with(...ranks(rank), rank === 1 ? bad : good)).train().catch((e) => e.code)),
    );
    expect(errors[1]).toBe('OPTION_INVALID');
    expect(errors[0]).toBe('OTHER_RANK');
  });
});

describe('stopping', () => {
  test('an abort stops after the current step, runs onEnd, and lets timers in', async () => {
    const controller = new AbortController();
    const ended: number[] = [];
    const slow: Plugin = {
      name: 'slow',
      apply({ hooks }) {
        hooks.afterStep.tap('slow', () => {
          const until = performance.now() + 3;
          while (performance.now() < until);
        });
        hooks.onEnd.tap('slow', ({ step }) => {
          ended.push(step);
        });
      },
    };
    setTimeout(() => controller.abort(), 50);
    const result = await new Trainer(smallRun({ steps: 100_000 }).with(slow)).train({ signal: controller.signal });
    expect(result.stopped).toBe(true);
    expect(result.step).toBeGreaterThan(0);
    expect(result.step).toBeLessThan(1000);
    expect(ended).toEqual([result.step]);
  });

  test('one Trainer trains once', async () => {
    const trainer = new Trainer(smallRun({ steps: 1 }));
    await trainer.train();
    await expect(trainer.train()).rejects.toThrow('TRAINED_TWICE');
  });
});

describe('snapshots', () => {
  const plugins = () =>
    smallRun({ epochs: 4, items: 13, batchSize: 2, warmupSteps: 3 }).with(
      accumulation(2),
      clipping(0.5),
      nonFiniteGuard(),
      ema({ decay: 0.9 }),
      cosine(),
      warmup(),
    );

  test('k steps, stop, restore, N - k are N steps, bit for bit, mid-epoch too', async () => {
    const [whole, wholeStore] = [weightsRecorder(), memoryStore(1)];
    await new Trainer(plugins().with(whole.plugin, wholeStore.plugin)).train();
    for (const k of [1, 5, 8]) {
      const store = memoryStore(k);
      await new Trainer(plugins().with(store.plugin, stopAfter(k))).train();
      const [rest, restStore] = [weightsRecorder(), memoryStore(1, store.snapshots[0])];
      await new Trainer(plugins().with(rest.plugin, restStore.plugin)).train();
      expect(rest.steps).toEqual(whole.steps.slice(k));
      expect(rest.losses).toEqual(whole.losses.slice(k));
      expect(restStore.snapshots.at(-1)).toEqual(wholeStore.snapshots.at(-1));
    }
  });

  test('a snapshot of another run is refused with all its differences', async () => {
    const store = memoryStore(2);
    await new Trainer(plugins().with(store.plugin, stopAfter(2))).train();
    const other = (options: object) =>
      new Trainer(smallRun({ epochs: 4, items: 13, ...options }).with(accumulation(2), memoryStore(1, store.snapshots[0]).plugin)).train();
    await expect(other({ batchSize: 3, seed: 9 })).rejects.toThrow(/SNAPSHOT_OTHER_RUN.*seed was 0, is 9.*batchSize was 2, is 3/);
    await expect(other({ batchSize: 2 })).rejects.toThrow(/SNAPSHOT_MISMATCH.*ema is saved but not in this run/);
    const torn = { ...store.snapshots[0], parameters: { w: store.snapshots[0].parameters.w, x: store.snapshots[0].parameters.b } };
    await expect(new Trainer(plugins().with(memoryStore(1, torn).plugin)).train()).rejects.toThrow(
      /SNAPSHOT_MISMATCH.*b is missing.*x is unexpected/,
    );
  });
});

test('a run leaves no tensor behind, and keeps none from step to step', async () => {
  const before = tf.memory().numTensors;
  const counts: number[] = [];
  const counter: Plugin = {
    name: 'counter',
    apply: ({ hooks }) =>
      hooks.afterEpoch.tap('counter', () => {
        counts.push(tf.memory().numTensors);
      }),
  };
  const plugins = compose(...smallRun({ epochs: 8, items: 13, batchSize: 2 })).with(
    accumulation(3),
    clipping(1),
    nonFiniteGuard(),
    ema(),
    cosine(),
    warmup(),
    weightsRecorder().plugin,
    counter,
  );
  await new Trainer(plugins).train();
  expect(new Set(counts.slice(1, -1)).size).toBe(1);
  expect(tf.memory().numTensors).toBe(before);
  const broken: Plugin = {
    name: 'broken',
    apply: ({ hooks }) =>
      hooks.onLoss.tap('broken', (loss, { step }) => {
        if (step === 2) throw new Error('in the middle');
        return loss;
      }),
  };
  await expect(new Trainer(smallRun().with(accumulation(2), broken)).train()).rejects.toThrow('in the middle');
  expect(tf.memory().numTensors).toBe(before);
});
