import { mkdir, mkdtemp, readdir, readFile, rename, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Plugin, Trainer } from '../../../core/index.js';
import { jsonl } from '../../../plugins/observe/jsonl.js';
import { type CheckpointOptions, checkpoint } from '../../../plugins/persist/checkpoint.js';
import { runFolder } from '../../../plugins/persist/run-folder.js';
import { smallRun, stopAfter, weightsRecorder } from '../../support/small-run.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'steploom-'));
});
afterEach(() => rm(folder, { recursive: true }));

/** A run of six steps into the folder. */
function train(more: Partial<CheckpointOptions> = {}, ...plugins: Plugin[]) {
  const said: string[] = [];
  const log = jsonl(folder, { every: 1 });
  const run = smallRun().with(runFolder(folder), log, checkpoint({ into: folder, every: 2, ...more }), ...plugins);
  return new Trainer(run, { warn: (text) => said.push(text) }).train().then((result) => ({ ...result, said }));
}
const steps = async (path = folder) =>
  (await readFile(join(path, 'log.jsonl'), 'utf8'))
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line).step);

const facts = async () => JSON.parse(await readFile(join(folder, 'run.json'), 'utf8'));

test('run.json says how long the run is to be, and how it ended: nothing of that while it goes on, or when it is killed', async () => {
  const meanwhile: object[] = [];
  const look = (): Plugin => ({
    name: 'look',
    apply: ({ hooks }) => hooks.afterEpoch.tapPromise(async () => void meanwhile.push(await facts())),
  });
  await train({}, look());
  const whole = { steps: 6, epochs: 2, stepsPerEpoch: 3 };
  expect(meanwhile[0]).toEqual({ ...whole, id: expect.any(String), begun: expect.any(String) });
  const ended = await facts();
  expect(ended).toEqual({ ...meanwhile[0], outcome: 'done', seconds: expect.any(Number) });
  const asks: Plugin = {
    name: 'asks',
    apply: ({ hooks, request }) =>
      hooks.afterStep.tap((step) => {
        if (step === 2) request('stop');
      }),
  };
  await train({}, asks);
  expect(await facts()).toMatchObject({ ...whole, outcome: 'stopped' });
  // It goes on: it is over no more, and ends in another way.
  meanwhile.length = 0;
  const fails: Plugin = {
    name: 'fails',
    apply: ({ hooks }) =>
      hooks.onEnd.tap(() => {
        throw new Error('no more\nroom');
      }),
  };
  await expect(train({ resume: 'latest' }, look(), fails)).rejects.toThrow('no more');
  expect(meanwhile[0]).not.toHaveProperty('outcome');
  expect(await facts()).toMatchObject({ outcome: 'failed', error: expect.stringMatching(/HOOK_THREW.*no more$/) });
  // A plugin that has seen enough is not somebody who stops it.
  await train({}, stopAfter(3));
  expect(await facts()).toMatchObject({ outcome: 'done' });
});

test('a new run in a folder that holds one moves all that it wrote aside, and nothing else', async () => {
  await writeFile(join(folder, 'notes.txt'), 'mine');
  await mkdir(join(folder, 'checkpoint-99'));
  expect((await train()).said).toEqual([]);
  // One with a limit keeps its own two, whatever numbers the former's have.
  const second = await train({ totalLimit: 2 }, stopAfter(5));
  expect(second.said[0]).toMatch(/run-folder: .* holds an earlier run, which was moved to .*former-runs/);
  expect((await readdir(folder)).sort()).toEqual([
    'checkpoint-2',
    'checkpoint-4',
    'checkpoint-99',
    'former-runs',
    'log.jsonl',
    'notes.txt',
    'run.json',
  ]);
  expect(await steps()).toEqual([1, 2, 3, 4, 5]);
  const [former] = await readdir(join(folder, 'former-runs'));
  expect((await readdir(join(folder, 'former-runs', former))).sort()).toEqual([
    'checkpoint-2',
    'checkpoint-4',
    'checkpoint-6',
    'log.jsonl',
    'run.json',
  ]);
  expect(await steps(join(folder, 'former-runs', former))).toEqual([1, 2, 3, 4, 5, 6]);
});

test('a resumed run is the same run: its log and checkpoints go on', async () => {
  await train({}, stopAfter(3));
  const { id, begun } = await facts();
  const { said } = await train({ resume: 'latest' });
  expect(said).toEqual([]);
  expect(await facts()).toMatchObject({ id, begun });
  expect(await steps()).toEqual([1, 2, 3, 4, 5, 6]);
  expect((await readdir(folder)).sort()).toEqual(['checkpoint-2', 'checkpoint-4', 'checkpoint-6', 'log.jsonl', 'run.json']);
});

test('a run that goes back to an earlier checkpoint moves those past it aside: a limit keeps what is new, and latest takes it', async () => {
  await train();
  const back = await train({ resume: 'checkpoint-2', every: 1, totalLimit: 2 }, stopAfter(4));
  expect(back.said).toEqual([
    expect.stringMatching(/checkpoint-6, checkpoint-4 of .*, past step 2 at which this run begins, moved to .*former-runs/),
  ]);
  expect((await readdir(folder)).filter((name) => name.startsWith('checkpoint'))).toEqual(['checkpoint-3', 'checkpoint-4']);
  const [former] = await readdir(join(folder, 'former-runs'));
  expect(await readdir(join(folder, 'former-runs', former))).toEqual(['checkpoint-4', 'checkpoint-6']);
  expect((await train({ resume: 'latest' })).said).toEqual([]);
});

test('also where checkpoints are all that is written, another run’s do not count', async () => {
  const alone = (more: Partial<CheckpointOptions>, ...plugins: Plugin[]) =>
    new Trainer(smallRun().with(checkpoint({ into: folder, every: 2, ...more }), ...plugins), { warn: () => undefined }).train();
  await alone({});
  await alone({ every: 1, totalLimit: 2 }, stopAfter(3));
  expect((await readdir(folder)).sort()).toEqual(['checkpoint-2', 'checkpoint-3', 'former-runs']);
});

test('who looks for the latest changes nothing: a run may be writing there', async () => {
  await train({}, stopAfter(3));
  await mkdir(join(folder, '.checkpoint-4.unfinished'));
  await writeFile(join(folder, 'run.lock'), JSON.stringify({ pid: process.pid, host: hostname() }));
  await checkpoint({ into: folder, resume: 'latest' }).read();
  expect(await readdir(folder)).toContain('.checkpoint-4.unfinished');
});

test('an old best value does not stand in a new run’s way', async () => {
  const values = (...list: number[]): Plugin => ({
    name: 'values',
    metrics: ['score'],
    apply({ hooks }) {
      hooks.onRequest.tap((requests) => ({ ...requests, evaluate: 1 }));
      hooks.onEvaluate.tap((metrics, step) => ({ ...metrics, score: list[step] }));
    },
  });
  const best = { best: { metric: 'score' } };
  await train(best, values(9, 1, 9, 9, 9, 9));
  await train(best, values(9, 8, 7, 8, 8, 8));
  expect(JSON.parse(await readFile(join(folder, 'best.json'), 'utf8'))).toMatchObject({ value: 7 });
});

test('a second run into the folder of one that is under way is refused before anything is done', async () => {
  let second: unknown;
  const inTheMiddle: Plugin = {
    name: 'in-the-middle',
    apply: ({ hooks }) =>
      hooks.afterEpoch.tapPromise(async () => {
        second ??= await train().catch((error) => error);
      }),
  };
  await train({}, inTheMiddle);
  expect(String(second)).toMatch(
    new RegExp(`FOLDER_LOCKED \\(run-folder\\): the run of process ${process.pid} on ${hostname()} writes into`),
  );
  expect(await steps()).toEqual([1, 2, 3, 4, 5, 6]);
  expect(await readdir(folder)).not.toContain('run.lock');
});

test('the lock of a run that is dead does not count: of this machine by its process, of another by its last sign of life', async () => {
  const path = join(folder, 'run.lock');
  const put = (content: object) => writeFile(path, JSON.stringify(content));
  await put({ pid: 2 ** 22 + 1, host: hostname() });
  await train();
  // The number belongs to another process by now.
  await put({ pid: process.pid, host: hostname(), started: '1' });
  await train();
  await put({ pid: 1, host: 'elsewhere' });
  await expect(train()).rejects.toThrow(/FOLDER_LOCKED.*process 1 on elsewhere .*if it is dead, remove .*run\.lock/);
  await utimes(path, new Date(0), new Date(Date.now() - 700_000));
  await train();
  await writeFile(path, '{"pid": 1');
  await train();
});

test('a kill between the two renames of a replaced checkpoint leaves one that is taken', async () => {
  const [whole, rest] = [weightsRecorder(), weightsRecorder()];
  await train({}, whole.plugin);
  await rename(join(folder, 'checkpoint-6'), join(folder, '.checkpoint-6.unfinished'));
  await rename(join(folder, 'checkpoint-4'), join(folder, '.checkpoint-4.old.unfinished'));
  await mkdir(join(folder, '.theirs.unfinished'));
  await train({ resume: 'latest' }, rest.plugin);
  expect(rest.steps).toEqual(whole.steps.slice(4));
  expect((await readdir(folder)).sort()).toEqual([
    '.theirs.unfinished',
    'checkpoint-2',
    'checkpoint-4',
    'checkpoint-6',
    'log.jsonl',
    'run.json',
  ]);
});

test('what the run reads is not moved aside: it is refused before anything is done', async () => {
  await train({}, stopAfter(3));
  await mkdir(join(folder, 'model'));
  const from = (path: string) => new Trainer(smallRun().with(runFolder(folder, { reads: [path] }))).train();
  await expect(from(join(folder, 'model', '.'))).rejects.toThrow(/OPTION_INVALID \(run-folder\): .*model.* would be moved aside/);
  await symlink(join(folder, 'model'), join(folder, 'link'));
  await expect(from(join(folder, 'link'))).rejects.toThrow(/would be moved aside/);
  expect(await readdir(folder)).toEqual(['checkpoint-2', 'link', 'log.jsonl', 'model', 'run.json']);
  await mkdir(join(folder, 'base'));
  expect((await from(join(folder, 'base'))).step).toBe(6);
});

test('a folder of another program in a checkpoint’s place is seen before training, and left alone', async () => {
  await mkdir(join(folder, 'checkpoint-4'));
  await writeFile(join(folder, 'checkpoint-4', 'optimizer.bin'), 'theirs');
  await expect(train()).rejects.toThrow(/FOLDER_FOREIGN.*checkpoint-4: not steploom's/);
  expect(await readdir(join(folder, 'checkpoint-4'))).toEqual(['optimizer.bin']);
});

test('a checkpoint is found by its name below the output folder; where there is none, that is said', async () => {
  await train({}, stopAfter(3));
  const { step } = await train({ resume: 'checkpoint-2' });
  expect(step).toBe(6);
  await expect(train({ resume: 'checkpoint-5' })).rejects.toThrow(/BAD_SNAPSHOT.*there is no checkpoint at .*checkpoint-5/);
  await rm(folder, { recursive: true });
  expect((await train({ resume: 'latest' })).said).toEqual([
    expect.stringMatching(/there is no checkpoint in .* to go on from: the run begins anew/),
  ]);
});
