import { spawn } from 'node:child_process';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, test } from 'vitest';

const cli = fileURLToPath(new URL('../../../dist/presets/cli/main.js', import.meta.url));
/** A model of pictures of 16 pixels. */
const pipeline = fileURLToPath(new URL('../../fixtures/pipelines/sd15', import.meta.url));
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'steploom-'));
  await sharp({ create: { width: 40, height: 40, channels: 3, background: 'red' } }).toFile(join(folder, 'a.png'));
  await writeFile(join(folder, 'a.txt'), 'red heart');
});
afterAll(() => rm(folder, { recursive: true }));

/** A configuration whose plugin does something in a step, and at the end. */
const config = async (name: string, { inStep = '', atEnd = '', steps = 8 }: { inStep?: string; atEnd?: string; steps?: number }) => {
  await writeFile(
    join(folder, name),
    `export default { trainDataDir: '.', device: 'wasm', threads: 1, pretrainedModelNameOrPath: ${JSON.stringify(pipeline)}, resolution: 16, trainBatchSize: 1, lrWarmupSteps: 0, maxTrainSteps: ${steps}, quiet: true, outputDir: ${JSON.stringify(name.replace(/\W/g, '-'))} };
     export const plugins = [{ name: 'mine', apply({ hooks, request }) { hooks.beforeStep.tap((update, step) => { ${inStep}; return update; });
       hooks.onEnd.tapPromise(async () => { ${atEnd} }); } }];`,
  );
  return ['train', 'lora-text-to-image', '--config', name];
};

/** Starts the command line in a process group of its own, as a terminal does. */
function start(args: readonly string[], until: RegExp) {
  const child = spawn(process.execPath, [cli, ...args], { cwd: folder, detached: true });
  let text = '';
  const seen = new Promise<void>((resolve) => {
    const look = (chunk: unknown) => {
      text += chunk;
      if (until.test(text)) resolve();
    };
    child.stdout.on('data', look);
    child.stderr.on('data', look);
  });
  const ended = new Promise<{ code: number | null; signal: string | null }>((resolve) => {
    child.once('exit', (code, signal) => resolve({ code, signal }));
  });
  return { child, seen, ended, output: () => text };
}
const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

test.skipIf(process.platform === 'win32')('the second Ctrl-C ends the process within a second, also while a step computes', async () => {
  const { child, seen, ended } = start(await config('busy.mjs', { inStep: `if (step === 1) { console.log('busy'); for (;;); }` }), /busy/);
  await seen;
  await pause(300);
  const group = -(child.pid as number);
  process.kill(group, 'SIGINT');
  await pause(300);
  const asked = performance.now();
  process.kill(group, 'SIGINT');
  expect(await ended).toEqual({ code: null, signal: 'SIGKILL' });
  expect(performance.now() - asked).toBeLessThan(1000);
});

test('a stop that is asked for in a step comes after the next one and ends with a code other than 0, and what was learnt is saved', async () => {
  const { ended } = start(await config('asked.mjs', { inStep: `if (step === 2) request('stop')` }), /never/);
  expect((await ended).code).toBe(130);
  expect(await readdir(join(folder, 'asked-mjs'))).toEqual(expect.arrayContaining(['checkpoint-4', 'pytorch_lora_weights.safetensors']));
});

test('what reads the output may go away', async () => {
  const { child, seen, ended } = start(await config('piped.mjs', { inStep: 'console.log(step); console.error(step)' }), /training on/);
  await seen;
  child.stdout.destroy();
  child.stderr.destroy();
  expect(await ended).toEqual({ code: 0, signal: null });
  expect(await readdir(join(folder, 'piped-mjs'))).toContain('pytorch_lora_weights.safetensors');
});

test('a plugin that throws ends with 1; what the last step had learnt is saved', async () => {
  const { ended, output } = start(await config('broken.mjs', { inStep: `if (step === 3) throw new Error('mine broke')` }), /never/);
  expect((await ended).code).toBe(1);
  expect(output()).toMatch(/HOOK_THREW \(mine\): in beforeStep: mine broke/);
  expect(output()).toMatch(/ at broken\.mjs:2/);
  expect(await readdir(join(folder, 'broken-mjs'))).toContain('checkpoint-3');
});

test('an error that nobody catches stops the run after the step: what was learnt is saved, and the code is 1', async () => {
  const late = `if (step === 2) setTimeout(() => { throw new Error('thrown in a timer') })`;
  const { ended, output } = start(await config('late.mjs', { inStep: late }), /never/);
  expect((await ended).code).toBe(1);
  expect(output()).toContain('thrown in a timer');
  expect(await readdir(join(folder, 'late-mjs'))).toContain('pytorch_lora_weights.safetensors');
});

test('a signal that comes when the steps are made ends with its code, too', async () => {
  const atEnd = `process.kill(process.pid, 'SIGTERM'); await new Promise((goOn) => setTimeout(goOn, 100));`;
  const { ended } = start(await config('end.mjs', { atEnd, steps: 2 }), /never/);
  expect((await ended).code).toBe(143);
  expect(await readdir(join(folder, 'end-mjs'))).toContain('pytorch_lora_weights.safetensors');
});
