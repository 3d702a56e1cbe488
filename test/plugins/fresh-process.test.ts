import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { ran } from '../support/mpi.js';

// The jobs of every-plugin.test.ts, as snapshots that one process writes and another, which has nothing of the first's, goes on from.
test('each plugin resumes bit for bit in a fresh process', async () => {
  const handed = await mkdtemp(join(tmpdir(), 'steploom-handed-'));
  try {
    const vitest = fileURLToPath(new URL('../../node_modules/vitest/vitest.mjs', import.meta.url));
    const jobs = fileURLToPath(new URL('every-plugin.test.ts', import.meta.url));
    const passed = async () => {
      const { code, output } = await ran(process.execPath, [vitest, 'run', jobs, '--reporter', 'dot'], {
        env: { STEPLOOM_TEST_SNAPSHOTS: handed, NO_COLOR: '1', FORCE_COLOR: '0' },
        limit: 300,
      });
      expect(code, output).toBe(0);
      return Number(/Tests +(\d+) passed/.exec(output)?.[1]);
    };
    const written = await passed();
    expect(await readdir(handed)).toHaveLength(written);
    expect(await passed()).toBe(written);
  } finally {
    await rm(handed, { recursive: true });
  }
}, 600_000);
