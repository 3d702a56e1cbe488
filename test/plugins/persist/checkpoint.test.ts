import { spawnSync } from 'node:child_process';
import { renameSync, writeFileSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CLOCK, type Plugin, Trainer } from '../../../core/index.js';
import * as tf from '../../../core/tf.js';
import { wasm } from '../../../plugins/devices/wasm.js';
import { accumulation } from '../../../plugins/gradients/accumulation.js';
import { nonFiniteGuard } from '../../../plugins/gradients/non-finite-guard.js';
import { sgd } from '../../../plugins/optimizers/sgd.js';
import { checkpoint } from '../../../plugins/persist/checkpoint.js';
import { ema } from '../../../plugins/weights/ema.js';
import { smallRun, stopAfter, weightsRecorder } from '../../support/small-run.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'steploom-'));
});
afterAll(() => rm(folder, { recursive: true }));

describe('checkpoint', () => {
  const plugins = (name: string, more: object, device?: ReturnType<typeof wasm>) =>
    smallRun({ epochs: 3, items: 11, batchSize: 2, ...(device ? { device: device as never } : {}) }).with(
      accumulation(2),
      nonFiniteGuard(),
      ema({ decay: 0.8 }),
      checkpoint({ into: join(folder, name), ...more }),
    );

  for (const threads of [0, 1])
    test(`resume from a folder is bitwise on ${threads ? 'wasm' : 'cpu'}, mid-epoch`, async () => {
      const device = () => (threads ? wasm({ threads: 2 }) : undefined);
      const name = `bitwise-${threads}`;
      const whole = weightsRecorder();
      await new Trainer(plugins(`${name}-whole`, {}, device()).with(whole.plugin)).train();
      await new Trainer(plugins(name, { every: 2 }, device()).with(stopAfter(5))).train();
      expect((await readdir(join(folder, name))).sort()).toEqual(['checkpoint-2', 'checkpoint-4']);
      const rest = weightsRecorder();
      await new Trainer(plugins(name, { resume: 'latest' }, device()).with(rest.plugin)).train();
      expect(rest.steps).toEqual(whole.steps.slice(4));
    });

  test('a stop saves where the run ends, if asked', async () => {
    await new Trainer(plugins('end', { atEnd: true }).with(stopAfter(3))).train();
    expect(await readdir(join(folder, 'end'))).toEqual(['checkpoint-3']);
  });

  test('faults are named', async () => {
    await expect(new Trainer(plugins('none', { resume: join(folder, 'absent') })).train()).rejects.toThrow(
      /BAD_SNAPSHOT.*there is no checkpoint at .*absent/,
    );
    await new Trainer(plugins('other', { every: 2 }).with(stopAfter(2))).train();
    await expect(new Trainer(plugins('other', { resume: 'latest' }).with(sgd())).train()).rejects.toThrow(
      /SNAPSHOT_MISMATCH.*adamw is saved but not in this run/,
    );
    await writeFile(join(folder, 'other', 'checkpoint-2', 'state.json'), '{');
    await expect(new Trainer(plugins('other', { resume: join(folder, 'other', 'checkpoint-2') })).train()).rejects.toThrow(
      /BAD_SNAPSHOT.*state\.json is not what was written/,
    );
    await expect(new Trainer(plugins('bad', { every: 0.5 })).train()).rejects.toThrow(/OPTION_INVALID.*every is 0.5/);
  });

  test('a torn one is passed over with a warning, and the one before it taken', async () => {
    const [whole, rest] = [weightsRecorder(), weightsRecorder()];
    await new Trainer(plugins('torn-whole', {}).with(whole.plugin)).train();
    await new Trainer(plugins('torn', { every: 2 }).with(stopAfter(5))).train();
    const file = join(folder, 'torn', 'checkpoint-4', 'state.safetensors');
    const bytes = await readFile(file);
    await writeFile(file, bytes.subarray(0, bytes.length - 7));
    const warnings: string[] = [];
    await new Trainer(plugins('torn', { resume: 'latest' }).with(rest.plugin), { warn: (text) => warnings.push(text) }).train();
    expect(warnings[0]).toMatch(/checkpoint-4 is passed over: .*state\.safetensors is not what was written/);
    expect(rest.steps).toEqual(whole.steps.slice(2));
  });

  test('exactly the newest K survive, the best as well, and folders that are not ours are left alone', async () => {
    const into = join(folder, 'limited');
    await mkdir(join(into, 'checkpoint-100'), { recursive: true });
    await writeFile(join(into, 'checkpoint-100', 'mine.txt'), 'a user’s');
    await mkdir(join(into, 'checkpoint-best'));
    const values = [5, 3, 4, 6, 2.5, 7, 8, 9, 9];
    const scores: Plugin = {
      name: 'scores',
      apply({ hooks }) {
        hooks.onRequest.tap('scores', (requests) => ({ ...requests, evaluate: 1 }));
        hooks.onEvaluate.tap('scores', (metrics, step) => ({ ...metrics, score: values[step] }));
      },
    };
    await new Trainer(plugins('limited', { every: 1, totalLimit: 2, best: { metric: 'score' } }).with(scores)).train();
    expect((await readdir(into)).sort()).toEqual([
      'best.json',
      'checkpoint-100',
      'checkpoint-5',
      'checkpoint-8',
      'checkpoint-9',
      'checkpoint-best',
    ]);
    expect(JSON.parse(await readFile(join(into, 'best.json'), 'utf8'))).toMatchObject({ step: 5, metric: 'score', value: 2.5 });
    expect(await readdir(join(into, 'checkpoint-100'))).toEqual(['mine.txt']);
  });

  test('where its place cannot be written, a checkpoint goes among the temporary files, and the error says where', async () => {
    const into = join(folder, 'full');
    // A file takes the place of the folder while the run is under way: nothing can be written into it, as on a full disk.
    const blocked: Plugin = {
      name: 'blocked',
      apply: ({ hooks }) =>
        hooks.beforeStep.tap((update, step) => {
          if (step === 3) writeFileSync(into, '');
          return update;
        }),
    };
    const error = await new Trainer(plugins('full', { every: 6 }).with(blocked)).train().catch((e) => e);
    expect(error.message).toMatch(/FILE_UNWRITABLE \(checkpoint\): .*checkpoint-6: .*; the checkpoint was written to (\S+checkpoint-6)\. /);
    const [, other] = /written to (\S+checkpoint-6)\./.exec(error.message) as RegExpExecArray;
    const [whole, rest] = [weightsRecorder(), weightsRecorder()];
    await new Trainer(plugins('full-whole', {}).with(whole.plugin)).train();
    await rm(into, { recursive: true, force: true });
    await new Trainer(plugins('full', { resume: other }).with(rest.plugin)).train();
    expect(rest.steps).toEqual(whole.steps.slice(6));
    await rm(other, { recursive: true });
  });

  test('where nothing can be written anywhere, the error says so, and no word says that something was kept but what was', async () => {
    const into = join(folder, 'nowhere');
    const aside = join(folder, 'nowhere-aside');
    const temporary = process.env.TMPDIR;
    const blocked: Plugin = {
      name: 'blocked',
      apply: ({ hooks }) =>
        hooks.beforeStep.tap((update, step) => {
          if (step !== 3) return update;
          renameSync(into, aside);
          writeFileSync(into, '');
          process.env.TMPDIR = join(folder, 'absent');
          return update;
        }),
    };
    const warnings: string[] = [];
    const run = new Trainer(plugins('nowhere', { every: 2 }).with(blocked), { warn: (text) => warnings.push(text) }).train();
    const error = await run.catch((e) => e).finally(() => Object.assign(process.env, { TMPDIR: temporary ?? tmpdir() }));
    expect(error.message).toMatch(/FILE_UNWRITABLE.*checkpoint-4/);
    expect(error.message).not.toContain('was written to');
    expect(error.later).toEqual([expect.objectContaining({ code: 'ENOENT', syscall: 'mkdtemp' })]);
    expect(warnings).toEqual([`core: the last checkpoint is ${join(into, 'checkpoint-2')}`]);
  });

  test('an error at the end, where files are written, says where what was learnt is kept', async () => {
    const full: Plugin = {
      name: 'full',
      apply: ({ hooks }) =>
        hooks.onEnd.tapPromise(async () => {
          throw new Error('ENOSPC: no space left on device');
        }),
    };
    const warnings: string[] = [];
    const run = new Trainer(plugins('last', { atEnd: true }).with(full), { warn: (text) => warnings.push(text) }).train();
    await expect(run).rejects.toThrow('ENOSPC');
    const [last] = await readdir(join(folder, 'last'));
    expect(warnings).toEqual([`core: what the run had learnt after step ${last.split('-')[1]} is kept in ${join(folder, 'last', last)}`]);
  });

  test('while steps are skipped, the last from which training went on is kept beside the newest', async () => {
    const into = join(folder, 'skipping');
    /** Spoils the gradient of steps. */
    const spoil = (from: number, to: number): Plugin => ({
      name: 'spoil',
      after: [],
      apply: ({ hooks }) =>
        hooks.onUnscale.tap((update, step) => {
          if (step < from || step >= to) return update;
          const gradients = { ...update.gradients, w: tf.tidy(() => update.gradients.w.mul(Number.NaN)) };
          update.gradients.w.dispose();
          return { ...update, gradients };
        }),
    });
    const train = (to: number) =>
      new Trainer(
        smallRun({ steps: 20 }).with(nonFiniteGuard({ stopAfter: 4 }), spoil(6, to), checkpoint({ into, every: 1, totalLimit: 2 })),
        { warn: () => undefined },
      ).train();
    // The update of step 6 may have ruined what was saved after it: no gradient says otherwise.
    await expect(train(20)).rejects.toThrow('NON_FINITE');
    const left = (await readdir(into)).map((name) => Number(name.split('-')[1])).sort((a, b) => a - b);
    expect(left).toHaveLength(3);
    expect(left[0]).toBe(5);
    await rm(into, { recursive: true });
    await train(8);
    expect((await readdir(into)).sort()).toEqual(['checkpoint-19', 'checkpoint-20']);
  });

  test('on an interval of time', async () => {
    let now = 0;
    const clock: Plugin = { name: 'clock', fills: CLOCK, now: () => now };
    const ticks: Plugin = {
      name: 'ticks',
      apply: ({ hooks }) =>
        hooks.afterStep.tap('ticks', () => {
          now += 1000;
        }),
    };
    await new Trainer(plugins('timed', { everySeconds: 2.5 }).with(clock, ticks)).train();
    expect((await readdir(join(folder, 'timed'))).sort()).toEqual(['checkpoint-4', 'checkpoint-7']);
  });

  test('a stop inside a window saves the last step’s boundary at once, and the window is made again', async () => {
    const small = (name: string, more: object) =>
      smallRun({ steps: 5, items: 16, batchSize: 1 }).with(accumulation(8), checkpoint({ into: join(folder, name), atEnd: true, ...more }));
    const [whole, rest] = [weightsRecorder(), weightsRecorder()];
    await new Trainer(small('window-whole', {}).with(whole.plugin)).train();
    const asks: Plugin = {
      name: 'asks',
      apply: ({ hooks, request }) =>
        hooks.afterBackward.tap('asks', (sum, { step, index }) => {
          if (step === 3 && index === 2) request('stop');
          return sum;
        }),
    };
    const before = tf.memory().numTensors;
    const result = await new Trainer(small('window', {}).with(asks)).train();
    expect([result.step, result.stopped]).toEqual([3, true]);
    expect(tf.memory().numTensors).toBe(before);
    expect(await readdir(join(folder, 'window'))).toEqual(['checkpoint-3']);
    await new Trainer(small('window', { resume: 'latest' }).with(rest.plugin)).train();
    expect(rest.steps).toEqual(whole.steps.slice(3));
  });

  test('what a resumed run may change is applied and said; what it may not is refused unless overridden by name', async () => {
    await new Trainer(smallRun({ steps: 6 }).with(checkpoint({ into: join(folder, 'changed'), every: 2 }), stopAfter(4))).train();
    const again = (run: object, options: object = {}) => {
      const warnings: string[] = [];
      const recorder = weightsRecorder();
      const trained = new Trainer(
        smallRun({ steps: 6, ...run }).with(checkpoint({ into: join(folder, 'changed'), resume: 'latest', ...options }), recorder.plugin),
        { warn: (text) => warnings.push(text) },
      ).train();
      return trained.then((result) => ({ ...result, warnings, recorder }));
    };
    const faster = await again({ learningRate: 0.2, steps: 8 });
    expect(faster.warnings).toEqual(['resume: learningRate was 0.05, is 0.2 from here on', 'resume: steps was 6, is 8 from here on']);
    expect(faster.step).toBe(8);
    expect(faster.recorder.steps).not.toEqual((await again({ steps: 8 })).recorder.steps);
    await expect(again({ batchSize: 3, items: 14 })).rejects.toThrow(
      /SNAPSHOT_OTHER_RUN.*items was 12, is 14; batchSize was 4, is 3; content: the data set is another.*overrides/,
    );
    expect((await again({ batchSize: 3 }, { overrides: ['batchSize'] })).step).toBe(6);
    await expect(again({ batchSize: 3 }, { overrides: ['batch'] })).rejects.toThrow(/there is no batch to override/);
  });

  test('a full disk ends with an error that says so, the checkpoint before it intact', async () => {
    // A small file system of its own, where this process may mount one; otherwise a folder that cannot be written is as much as can be tried.
    const place = join(folder, 'full');
    await mkdir(place);
    const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', place]).status === 0;
    if (!mounted) return console.log('not tested here: a full disk (mount is not allowed)');
    try {
      await new Trainer(smallRun({ steps: 2 }).with(checkpoint({ into: place, every: 2 }))).train();
      await writeFile(join(place, 'ballast'), new Uint8Array(49_000));
      await expect(
        new Trainer(smallRun({ steps: 6 }).with(checkpoint({ into: place, every: 2, resume: 'latest' }))).train(),
      ).rejects.toThrow(/FILE_UNWRITABLE.*no space left on device/);
      expect((await readdir(place)).sort()).toEqual(['ballast', 'checkpoint-2']);
      await rm(join(place, 'ballast'));
      const result = await new Trainer(smallRun({ steps: 6 }).with(checkpoint({ into: place, every: 2, resume: 'latest' }))).train();
      expect(result.step).toBe(6);
    } finally {
      spawnSync('umount', [place]);
    }
  });
});
