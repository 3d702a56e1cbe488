import { appendFile, cp, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Plugin, Trainer } from '../../../core/index.js';
import { csv } from '../../../plugins/observe/csv.js';
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
  const run = (more: object) => smallRun({ steps: 9 }).with(jsonl(into, { every: 1 }), checkpoint({ into, every: 3, ...more }));
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

test('lines bear the run’s id and its seconds, which go on; a run that is resumed into another’s log does not mix with it', async () => {
  const into = join(folder, 'identity');
  const run = (more: object) =>
    smallRun({ steps: 9 }).with(
      jsonl(into, { every: 1 }),
      csv(into, { every: 1 }),
      checkpoint({ into: join(into, 'store'), every: 3, ...more }),
    );
  const records = async (name: string) =>
    (await readFile(join(into, name), 'utf8'))
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { step: number; run: string; seconds: number });
  const table = async (name: string) => (await readFile(join(into, name), 'utf8')).trim().split('\n');
  const slow: Plugin = { name: 'slow', apply: ({ hooks }) => hooks.onStart.tapPromise(() => new Promise((goOn) => setTimeout(goOn, 50))) };
  await new Trainer(run({}).with(slow, stopAfter(3)), { runId: 'first' }).train();
  await new Trainer(run({ resume: 'latest' }), { runId: 'not-taken', warn: () => undefined }).train();
  const first = await records('log.jsonl');
  expect(new Set(first.map(({ run }) => run))).toEqual(new Set(['first']));
  expect(first.map(({ seconds }) => seconds)).toEqual(first.map(({ seconds }) => seconds).sort((a, b) => a - b));
  expect(first[3].seconds).toBeGreaterThan(0.05);
  expect((await table('log.csv')).map((line) => line.split(',').at(-1))).toEqual(['run', ...Array(9).fill('first')]);
  // Another run in the same place, and then the first again.
  await cp(join(into, 'store', 'checkpoint-3'), join(into, 'kept'), { recursive: true });
  await new Trainer(run({}).with(stopAfter(2)), { runId: 'second', warn: () => undefined }).train();
  await new Trainer(run({ resume: join(into, 'kept') }), { warn: () => undefined }).train();
  expect((await records('log.jsonl')).map(({ step, run }) => `${run} ${step}`)).toEqual([4, 5, 6, 7, 8, 9].map((step) => `first ${step}`));
  expect((await records('log-1.jsonl')).map(({ step }) => step)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9]);
  expect((await records('log-2.jsonl')).map(({ step, run }) => `${run} ${step}`)).toEqual(['second 1', 'second 2']);
  expect(await table('log-2.csv')).toHaveLength(3);
});
