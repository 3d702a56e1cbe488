import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { openLog } from '../../../plugins/observe/logs/open-log.js';

const folder = await mkdtemp(join(tmpdir(), 'steploom-open-log-'));
afterAll(() => rm(folder, { recursive: true }));

test.runIf(process.platform === 'linux')('a full disk ends no run where somebody is told: it is said once', async () => {
  const said: string[] = [];
  const full = await openLog('csv', '/dev/full', 'a', { tell: (what) => said.push(what) });
  for (const line of ['a\n', 'b\n']) await full.append(line);
  expect(said).toEqual([expect.stringMatching(/^\/dev\/full: .*ENOSPC.*: what cannot be written is missing in it$/)]);
  await full.close();
  const strict = await openLog('jsonl', '/dev/full', 'a');
  await expect(strict.append('a\n')).rejects.toThrow(/FILE_UNWRITABLE \(jsonl\): \/dev\/full/);
  await strict.close();
});

test('what is written after a fault stands behind what was whole', async () => {
  const path = join(folder, 'log.csv');
  const said: string[] = [];
  const log = await openLog('csv', path, 'a', { tell: (what) => said.push(what) });
  await log.append('first\n');
  await log.append(null as unknown as string);
  await log.append('second\n');
  await log.close();
  expect(await readFile(path, 'utf8')).toBe('first\nsecond\n');
  expect(said).toHaveLength(1);
});
