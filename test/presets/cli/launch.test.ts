import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';
import { describe, expect, test } from 'vitest';
import { folder, launchers, ran } from '../../support/mpi.js';

const cli = fileURLToPath(new URL('../../../dist/presets/cli/main.js', import.meta.url));
/** A model of pictures of 16 pixels. */
const pipeline = fileURLToPath(new URL('../../fixtures/pipelines/sd15', import.meta.url));

const found = launchers();

/** Waits for something that must come; if it does not, the test runs out of time. */
const until = async (holds: () => boolean) => {
  while (!holds()) await new Promise((goOn) => setTimeout(goOn, 20));
};

const isThere = (pid: number) => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};

test('steploom launch without a launcher says so', async () => {
  const { code, output } = await ran(process.execPath, [cli, 'launch', '--processes', '2', '--mpirun', '/nowhere/mpirun', '--', 'devices']);
  expect(code).toBe(2);
  expect(output).toMatch(/MPI_MISSING.*\/nowhere\/mpirun/);
});

describe.each(found.map((launcher) => [launcher.name, launcher] as const))('under %s', (_, launcher) => {
  /** `steploom launch` of a run without an end, whose plugin does something in each step. */
  const launched = async (inStep = '') => {
    const into = await folder();
    await sharp({ create: { width: 32, height: 32, channels: 3, background: 'red' } }).toFile(join(into, '0.png'));
    await writeFile(join(into, '0.txt'), 'red heart');
    await writeFile(
      join(into, 'config.mjs'),
      `import { writeFileSync } from 'node:fs';
       export default { trainDataDir: '.', device: 'wasm', threads: 1, pretrainedModelNameOrPath: ${JSON.stringify(pipeline)}, resolution: 16, trainBatchSize: 1, lrWarmupSteps: 0, maxTrainSteps: 100000, quiet: true, outputDir: 'run' };
       export const plugins = [{ name: 'mine', apply: ({ hooks }) => hooks.beforeStep.tap((update, step) => { ${inStep}; return update; }) }];`,
    );
    const args = ['launch', '--processes', '2', '--mpirun', launcher.path, '--', 'train', 'lora-text-to-image', '--config', 'config.mjs'];
    const child = spawn(process.execPath, [cli, ...args], { cwd: into });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk));
    const said = (what: RegExp, times = 1) => until(() => [...output.matchAll(what)].length >= times);
    const pids = () => [...output.matchAll(/process (\d+) is busy/g)].map(([, pid]) => Number(pid));
    return { child, into, said, pids, ended: new Promise((resolve) => child.once('exit', resolve)) };
  };

  test('steploom launch passes a stop on, and waits until what was learnt is saved; who read its output may be gone', async () => {
    // Each step says something, also when nobody listens any more.
    const { child, into, said, ended } = await launched(`console.error('step', step); if (step === 6) writeFileSync('six', '')`);
    await said(/step 2/g);
    child.stdout.destroy();
    child.stderr.destroy();
    await until(() => existsSync(join(into, 'six')));
    child.kill('SIGHUP');
    expect(await ended).toBe(129);
    const left = await readdir(join(into, 'run'));
    expect(left).toContain('pytorch_lora_weights.safetensors');
    expect(left.filter((name) => /^checkpoint-\d+$/.test(name))).toHaveLength(1);
  });

  test('a second Ctrl-C ends steploom launch and its processes at once, also while a step computes', async () => {
    const { child, said, pids, ended } = await launched(`if (step === 1) { console.error('process', process.pid, 'is busy'); for (;;); }`);
    await said(/is busy/g, 2);
    child.kill('SIGINT');
    await said(/stopping/g);
    const asked = performance.now();
    child.kill('SIGINT');
    expect(await ended).toBe(130);
    // A second on a machine that has nothing else to do; otherwise they would have 300 s to end, and never do.
    expect(performance.now() - asked).toBeLessThan(20_000);
    // Whose parent is gone is there until the system has taken it away.
    await until(() => !pids().some(isThere));
  });
});

describe.skipIf(found.length === 0)('steploom launch', () => {
  test('trains in two processes, and rank 0 alone writes', async () => {
    const out = await folder();
    const { code, output } = await ran(process.execPath, [
      ...[cli, 'launch', '--processes', '2', '--mpirun', found[0].path, '--', 'train', 'emoji', '--device', 'wasm'],
      ...['--threads', '1', '--pretrained_model_name_or_path', pipeline, '--limit_items', '16'],
      ...['--max_train_steps', '2', '--lr_warmup_steps', '1', '--held_out', '1', '--num_inference_steps', '1', '--scale_lr'],
      ...['--train_batch_size', '2', '--learning_rate', '1e-4', '--output_dir', out],
    ]);
    expect(output).toContain('training on wasm');
    expect(output.match(/training on/g)).toHaveLength(1);
    expect(output).toContain('is scaled to 0.0004 (accumulation 1 x batch 2 x processes 2)');
    expect(code).toBe(0);
    expect((await readdir(out)).sort()).toContain('pytorch_lora_weights.safetensors');
  });
});
