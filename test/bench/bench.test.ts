import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { testDevices } from '../support/devices.js';
import { launchers } from '../support/mpi.js';
import { script } from '../support/script.js';

// The commands of this folder, each at its smallest size, where what it needs is found: that it runs and prints figures, not how fast. Those of
// docs/measured that need Python or a browser are not run here; test/parity/scripts.test.ts has steploom's part of the comparisons.
const fixture = (name: string) => fileURLToPath(new URL(`../fixtures/pipelines/${name}`, import.meta.url));
/** Options for which the main job has two pictures of 16 pixels. */
const FEW = ['--limitItems=2', '--threads=1', `--pretrainedModelNameOrPath=${JSON.stringify(fixture('sd15'))}`];
const run = (name: string, args: readonly string[], env: Record<string, string> = {}) => script(`bench/${name}`, args, env);

test('the loop’s overhead', async () => {
  const output = await run('loop.mjs', ['5', '5']);
  expect(output).toMatch(/a step, median of 5 interleaved: by hand [\d.]+ us.*steploom [\d.]+ us/);
  expect(output).toMatch(/more than by hand: -?[\d.]+ us \(null comparison: [\d.]+ us; bound 25\)/);
  expect(output).toMatch(/computation stubbed: [\d.]+ us a step \(bound 10\)/);
});

test('memory over many steps', async () => {
  const rows = (await run('memory.mjs', ['8'])).matchAll(/^(\d+)\t(\d+)\t\d+\t[\d.]+$/gm);
  const tensors = [...rows].map(([, , count]) => Number(count));
  expect(tensors).toHaveLength(8);
  expect(new Set(tensors.slice(1)).size).toBe(1);
});

test('the optimizers', async () => {
  const output = await run('optimizers.mjs', ['wasm'], { ELEMENTS: '4096', TENSORS: '16' });
  expect(output).toMatch(/one tensor of 4,096: adamw [\d.]+ ms.*adamw8bit [\d.]+ ms/);
  expect(output).toMatch(/16 tensors of 4 x 320: adamw [\d.]+ ms/);
  expect(output).toMatch(/8-bit to 32-bit: [\d.]+/);
});

test('the kernels', async () => {
  const output = await run('kernels.mjs', ['cpu', '128']);
  expect(output).toMatch(/product 32 +[\d.]+ ms +[\d.]+, best +[\d.]+ TFLOP\/s/);
  expect(output).toMatch(/attention of 4 x 32 to 1, 8 heads of 40, both +[\d.]+ ms/);
});

test.runIf((await testDevices()).includes('webgpu'))('the plans of attention', async () => {
  const output = await run('attention.mjs', ['64', 'heads of 24, vectors: forward: .*unrolled false']);
  expect(output).toMatch(/\* 3 x 5 to 3, 2 heads of 24, vectors: forward: .* TFLOP\/s +error \d\.\de-[6-9]/);
});

test('the main job beside PyTorch: what steploom does of it', async () => {
  const output = await run('main-job.mjs', ['wasm', 'step 1', 'sample 1', 'decode 1', '--trainBatchSize=2', ...FEW]);
  expect(output.match(/^\[\d+\.?\d*\]$/gm), output).toHaveLength(3);
});

test('the main job with an artist’s style', async () => {
  const output = await run('artist-style.mjs', ['1', '1', 'wasm', '--numInferenceSteps=1', ...FEW]);
  expect(output).toMatch(/the autoencoder on icons of the artist: [\d.]+ dB/);
  expect(output).toMatch(/with LoRA denoising loss [\d.]+; nearest of the artist's is the right one [\d.]+ %/);
});

test('ten thousand steps with everything on, as fifty', async () => {
  expect(await run('soak.mjs', ['50'])).toMatch(/50 steps; 0 tensors more than before/);
});

test('a Stable Diffusion', async () => {
  const output = await run('stable-diffusion.mjs', [fixture('sd15'), 'wasm', '16', '4', '2']);
  for (const what of ['loaded', 'a picture of 16 px encoded', 'a picture drawn in 2 guided steps', 'a step of training, one picture'])
    expect(output).toMatch(new RegExp(`${what}.*: [\\d.]+ m?s; host at most \\d+ MiB`));
});

test('LoRA steps of denoisers of full depth', async () => {
  for (const [name, rows] of [
    ['sd15', 1],
    ['sdxl', 2],
  ] as const) {
    const output = await run(`${name}.mjs`, ['webgpu', '20', '1', 'null', String(rows)]);
    const lines = [...output.matchAll(/^\| batch .* \| [\d.]+ ms, [\d.]+ GiB \| - \| [\d.]+ ms \| [\d.]+ s \|$/gm)];
    expect(lines, output).toHaveLength(rows);
  }
});

test('what a LoRA step costs the host', async () => {
  const steps = await Promise.all([[], ['capture']].map((more) => run('lora-step-host.mjs', ['2', 'checkpointing', ...more])));
  const found = steps.map(
    (output) =>
      /\d+ pipelines, (\d+) dispatches a step; the host: \d+ ms the first, [\d.]+ ms others[\s\S]*captured graphs: (\d+) MiB/.exec(
        output,
      ) ?? [],
  );
  // The same work on memory of its own, but that slices of its gradients, which have a dispatch each, are added up by one.
  const [eager, captured] = found.map(([, dispatches]) => Number(dispatches));
  expect(captured).toBeLessThan(eager);
  expect(captured).toBeGreaterThan(0.97 * eager);
  expect(found.map(([, , bytes]) => Number(bytes) > 0)).toEqual([false, true]);
});

test('loading a Stable Diffusion', async () => {
  expect(await run('loading.mjs', [fixture('sdxl'), 'cpu', 'f16'])).toMatch(
    /a file of \d+ MB in [\d.]+ s; beside its weights of \d+ MB the host held at most -?\d+ MB more/,
  );
});

const [launcher] = launchers();
if (launcher) {
  test('training in two processes', async () => {
    expect(await run('distributed.mjs', ['wasm', '1', '1', '1,2', '1', launcher.path, '1'], { BENCH_WARM: '0' })).toMatch(
      /2 to 1: [\d.]+ times/,
    );
  });

  test('an all-reduce', async () => {
    expect(await run('all-reduce.mjs', [launcher.path, '-', '2', '1', '1'])).toMatch(/^steploom [\d.]+ ms$/m);
  });
}

if ((await testDevices()).includes('webgpu'))
  test('what WebGPU costs the host', async () => {
    const output = await run('webgpu-host.mjs', ['4', '1', 'small']);
    expect(output).toMatch(/[\d.]+ ms a step of batch 1/);
    expect(output).toMatch(/GPUQueue\.submit +[\d.]+ a step, +[\d.]+ ms/);
  });

test('half precision against single, on the driver that computes nothing', async () => {
  expect(await run('half-precision.mjs', ['2', 'null'])).toMatch(
    /trained whole, 2 steps: mean loss .* in half .*apart\n(?: {2}.*\n)*LoRA, 2 steps: mean loss/,
  );
});
