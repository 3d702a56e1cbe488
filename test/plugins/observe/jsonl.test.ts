import { appendFile, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Trainer } from '../../../core/index.js';
import { jsonl } from '../../../plugins/observe/jsonl.js';
import { checkpoint } from '../../../plugins/persist/checkpoint.js';
import { smallRun, stopAfter } from '../../support/small-run.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'steploom-'));
});
afterAll(() => rm(folder, { recursive: true }));

test('a log goes on over a resume without a doubled or lost line, and another run’s is kept', async () => {
  const into = join(folder, 'logged');
  const run = (more: object) =>
    smallRun({ steps: 9 }).with(jsonl(join(into, 'log.jsonl'), { every: 1 }), checkpoint({ into, every: 3, ...more }));
  const lines = async (name = 'log.jsonl') =>
    (await readFile(join(into, name), 'utf8'))
      .trim()
      .split('\n')
      .map((line) => (JSON.parse(line) as { step: number }).step);
  await new Trainer(run({}).with(stopAfter(5))).train();
  await appendFile(join(into, 'log.jsonl'), '{"step":6,"lo');
  await new Trainer(run({ resume: 'latest' })).train();
  expect(await lines()).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9]);
  await new Trainer(run({}).with(stopAfter(2))).train();
  expect(await lines()).toEqual([1, 2]);
  expect(await lines('log-1.jsonl')).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9]);
});
