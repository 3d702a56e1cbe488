import { expect, test } from 'vitest';
import { COLLECTIVE, type Collective, oneProcess, type Plugin, type Snapshot, STORE, SteploomError, Trainer } from '../../../core/index.js';
import { adamw } from '../../../plugins/optimizers/adamw.js';
import { memoryStore, smallRun, weightsRecorder } from '../../support/small-run.js';

/** A store that saves when it is told to, and never by itself. */
function store(saved: Snapshot | null = null) {
  const snapshots: Snapshot[] = [];
  const plugin: Plugin = {
    name: 'store',
    fills: STORE,
    apply: ({ hooks }) => hooks.onCheckpoint.tap((snapshot) => void snapshots.push(snapshot)),
    read: async () => saved,
  };
  return { plugin, snapshots };
}

const throwsIn = (hook: 'onBatch' | 'beforeStep' | 'onLog' | 'afterStep', at: number): Plugin => {
  let calls = 0;
  return {
    name: 'broken',
    apply: ({ hooks }) =>
      (hooks[hook] as { tap(fn: (value: unknown) => unknown): void }).tap((value) => {
        if (++calls === at) throw new Error(`broken in ${hook}`);
        return hook === 'afterStep' ? undefined : value;
      }),
  };
};

test.each(['onBatch', 'beforeStep', 'afterStep', 'onLog'] as const)(
  'what was learnt is saved when something throws in %s',
  async (hook) => {
    const whole = weightsRecorder();
    await new Trainer(smallRun().with(whole.plugin)).train();
    const kept = store();
    const warnings: string[] = [];
    const logging = weightsRecorder();
    await expect(
      new Trainer(smallRun().with(kept.plugin, logging.plugin, throwsIn(hook, 4)), { warn: (text) => warnings.push(text) }).train(),
    ).rejects.toThrow(`broken in ${hook}`);
    // In the fourth step: before its update three are made, after it four.
    const steps = hook === 'onLog' || hook === 'afterStep' ? 4 : 3;
    expect(kept.snapshots.map(({ step }) => step)).toEqual([steps]);
    expect(warnings).toContain(`core: what the run had learnt after step ${steps} is kept`);
    const rest = weightsRecorder();
    await new Trainer(smallRun().with(rest.plugin, memoryStore(99, kept.snapshots[0]).plugin)).train();
    expect(rest.steps).toEqual(whole.steps.slice(steps));
  },
);

test('nothing is saved where an update was under way, and nothing where no step was made', async () => {
  const good = adamw();
  let updates = 0;
  const failing: Plugin = {
    ...good,
    update(...given: Parameters<typeof good.update>) {
      good.update(...given);
      if (++updates === 4) throw new Error('broken while updating');
    },
  };
  for (const plugin of [failing, throwsIn('onBatch', 1)]) {
    const kept = store();
    await expect(new Trainer(smallRun().with(kept.plugin, plugin)).train()).rejects.toThrow('broken');
    expect(kept.snapshots).toEqual([]);
  }
});

test('an error while saving is attached to the one that ended the run', async () => {
  const full: Plugin = {
    name: 'full',
    fills: STORE,
    apply: ({ hooks }) =>
      hooks.onCheckpoint.tap(() => {
        throw new Error('no space left');
      }),
    read: async () => null,
  };
  const error = await new Trainer(smallRun().with(full, throwsIn('onBatch', 3))).train().catch((e) => e);
  expect(error.message).toContain('broken in onBatch');
  expect(error.later[0].message).toContain('no space left');
});

test.each([
  [0, false, [2]],
  [1, false, [2]],
  [0, true, [2]],
  [1, true, []],
])('of several processes the one that has an error saves; rank %i where every rank has it: %s', async (rank, everyRank, steps) => {
  const fill = { rank, worldSize: 2, localRank: rank, localSize: 2, barrier: async () => undefined };
  const agreed: Collective = { ...oneProcess(), ...fill };
  const collective = { name: 'two', fills: COLLECTIVE, ...agreed } as Plugin;
  const broken: Plugin = {
    name: 'broken',
    apply: ({ hooks }) =>
      hooks.onRequest.tap((requests, { step }) => {
        const problem = { code: 'X_BROKEN', plugin: 'broken', what: 'broken', fix: 'Mend it.' } as const;
        if (step === 2) throw new SteploomError(problem, { everyRank });
        return requests;
      }),
  };
  const kept = store();
  await expect(new Trainer(smallRun().with(collective, kept.plugin, broken), { warn: () => undefined }).train()).rejects.toThrow(
    'X_BROKEN',
  );
  expect(kept.snapshots.map(({ step }) => step)).toEqual(steps);
});
