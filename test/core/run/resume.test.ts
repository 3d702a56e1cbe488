import { describe, expect, test } from 'vitest';
import { DATA, type Host, type Plugin, type Snapshot, STORE, Trainer } from '../../../core/index.js';
import { arrays } from '../../../plugins/data/arrays.js';
import { examples, smallRun } from '../../support/small-run.js';

const withOptions = (options: Record<string, number | string>, adopts?: Record<string, number>): Plugin => ({
  name: 'mine',
  apply: async (host) => {
    if (adopts) await host.adopt({ name: 'inner', settings: () => adopts });
  },
  settings: () => options,
});

const store = (saved: Snapshot | null, overrides: readonly string[] = []) => {
  const snapshots: Snapshot[] = [];
  const plugin: Plugin = {
    name: 'store',
    fills: STORE,
    overrides,
    apply({ hooks }) {
      hooks.onRequest.tap((requests) => ({ ...requests, checkpoint: 1 }));
      hooks.onCheckpoint.tap((snapshot) => void snapshots.push(snapshot));
    },
    read: async () => saved,
  };
  return { plugin, snapshots };
};

async function run(mine: Plugin | null, saved: Snapshot | null, overrides?: readonly string[]) {
  const kept = store(saved, overrides);
  const warnings: string[] = [];
  const preset = smallRun({ steps: 2 }).with(kept.plugin);
  await new Trainer(mine ? preset.with(mine) : preset, { warn: (text) => warnings.push(text) }).train();
  return { snapshot: kept.snapshots[0], warnings };
}

describe('options that change what numbers mean', () => {
  test('are in the snapshot, and a run with the same goes on without a word', async () => {
    const { snapshot } = await run(withOptions({ alpha: 4, name: 'a' }, { beta: 0.9 }), null);
    expect(snapshot.settings).toMatchObject({ mine: { alpha: 4, name: 'a', 'inner/beta': 0.9 } });
    expect((await run(withOptions({ alpha: 4, name: 'a' }, { beta: 0.9 }), snapshot)).warnings).toEqual([]);
  });

  test('are refused by name where they differ, and applied and said where that is meant', async () => {
    const { snapshot } = await run(withOptions({ alpha: 4 }, { beta: 0.9 }), null);
    await expect(run(withOptions({ alpha: 400 }, { beta: 0.9 }), snapshot)).rejects.toThrow(
      /SNAPSHOT_OTHER_RUN.*mine\.alpha was 4, is 400/,
    );
    await expect(run(withOptions({ alpha: 4 }, { beta: 0.5 }), snapshot)).rejects.toThrow(/mine\.inner\/beta was 0\.9, is 0\.5/);
    await expect(run(null, snapshot)).rejects.toThrow(/mine\.alpha was 4, is not there/);
    const meant = await run(withOptions({ alpha: 400 }, { beta: 0.9 }), snapshot, ['mine.alpha']);
    expect(meant.warnings).toEqual(['resume: mine.alpha was 4, is 400 from here on']);
    // A plugin's name stands for all of its options.
    expect((await run(withOptions({ alpha: 5 }, { beta: 0.1 }), snapshot, ['mine'])).warnings).toHaveLength(2);
    await expect(run(withOptions({ alpha: 4 }, { beta: 0.9 }), snapshot, ['mine.alhpa'])).rejects.toThrow(
      /no mine\.alhpa to override.*mine\.alpha/,
    );
  });

  test('cannot be compared with a snapshot that was written before there were any', async () => {
    const { snapshot } = await run(null, null);
    const { settings: _, ...old } = snapshot;
    expect((await run(withOptions({ alpha: 4 }), { ...old, version: 2 })).warnings).toEqual([]);
    await expect(run(null, { ...old, version: 1 })).rejects.toThrow(/format version was 1, is 3/);
  });

  test('of data that is evaluated on are not compared: a resumed run may begin to evaluate', async () => {
    const held: Plugin = {
      name: 'held',
      apply: (host) => host.adopt({ name: 'folder', fills: DATA, settings: () => ({ crop: 1 }) } as never),
    };
    const { snapshot } = await run(null, null);
    expect((await run(held, snapshot)).warnings).toEqual([]);
  });

  test('of the run’s data are the same with another plugin around them', async () => {
    const folder = { ...arrays(examples(12), { batchSize: 4 }), name: 'folder', settings: () => ({ crop: 1 }) };
    const around = { ...folder, name: 'around', settings: () => ({}), apply: (host: Host) => host.adopt(folder) };
    const { snapshot } = await run({ ...folder } as never, null);
    expect(snapshot.settings).toMatchObject({ folder: { crop: 1 } });
    expect((await run(around as never, snapshot)).warnings).toEqual([]);
  });
});
