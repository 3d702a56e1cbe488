import * as files from 'node:fs/promises';
import { mkdtemp, readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { type Plugin, Trainer } from '../../../core/index.js';
import { checkpoint } from '../../../plugins/persist/checkpoint.js';
import { smallRun, weightsRecorder } from '../../support/small-run.js';

const killed = vi.hoisted(() => ({ at: '' }));

// A removal of files comes as far as its first file, as if the process were killed there.
vi.mock('node:fs/promises', async (original) => {
  const whole = await original<typeof files>();
  return {
    ...whole,
    rm: async (path: string, options?: object) => {
      if (killed.at === '' || !path.includes(killed.at) || !(await whole.stat(path).catch(() => null))) return whole.rm(path, options);
      const [first] = (await whole.readdir(path)).sort();
      await whole.rm(join(path, first), { recursive: true });
      throw new Error('killed');
    },
  };
});

test('a kill within the removal of an old checkpoint leaves nothing that has a checkpoint’s name, and the run goes on', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'steploom-'));
  const train = (resume?: 'latest', ...more: Plugin[]) =>
    new Trainer(smallRun().with(checkpoint({ into: folder, every: 1, totalLimit: 2, resume }), ...more), { warn: () => undefined }).train();
  try {
    killed.at = 'checkpoint-2';
    await expect(train()).rejects.toThrow('killed');
    expect(await readdir(folder)).toEqual(expect.arrayContaining(['checkpoint-3', 'checkpoint-4']));
    expect(await readdir(folder)).not.toContain('checkpoint-2');
    killed.at = '';
    const rest = weightsRecorder();
    await train('latest', rest.plugin);
    expect(rest.steps).toHaveLength(2);
    expect((await readdir(folder)).sort()).toEqual(['checkpoint-5', 'checkpoint-6']);
  } finally {
    await files.rm(folder, { recursive: true });
  }
});
