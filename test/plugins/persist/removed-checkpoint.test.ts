import { promises } from 'node:fs';
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { type Plugin, Trainer } from '../../../core/index.js';
import { checkpoint } from '../../../plugins/persist/checkpoint.js';
import { smallRun, weightsRecorder } from '../../support/small-run.js';

/** From here on, removing what has this name comes as far as its first file, as if the process were killed there. Returns what takes that back. */
function killedWithin(name: string): () => void {
  const { rm } = promises;
  const put = (one: typeof rm) => {
    promises.rm = one;
    syncBuiltinESMExports();
  };
  put(async (path, options) => {
    if (!String(path).includes(name) || !(await stat(path).catch(() => null))) return rm(path, options);
    const [first] = (await readdir(path)).sort();
    await rm(join(String(path), first), { recursive: true });
    throw new Error('killed');
  });
  return () => put(rm);
}

test('a kill within the removal of an old checkpoint leaves nothing that has a checkpoint’s name, and the run goes on', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'steploom-'));
  const train = (resume?: 'latest', ...more: Plugin[]) =>
    new Trainer(smallRun().with(checkpoint({ into: folder, every: 1, totalLimit: 2, resume }), ...more), { warn: () => undefined }).train();
  try {
    const goOn = killedWithin('checkpoint-2');
    await expect(train().finally(goOn)).rejects.toThrow('killed');
    expect(await readdir(folder)).toEqual(expect.arrayContaining(['checkpoint-3', 'checkpoint-4']));
    expect(await readdir(folder)).not.toContain('checkpoint-2');
    const rest = weightsRecorder();
    await train('latest', rest.plugin);
    expect(rest.steps).toHaveLength(2);
    expect((await readdir(folder)).sort()).toEqual(['checkpoint-5', 'checkpoint-6']);
  } finally {
    await rm(folder, { recursive: true });
  }
});
