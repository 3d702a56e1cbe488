import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type AnyPlugin, compose, run, Trainer } from '../../../core/index.js';
import { arrays } from '../../../plugins/data/arrays.js';
import { wasm } from '../../../plugins/devices/wasm.js';
import { textToImageModel } from '../../../plugins/models/text-to-image-model.js';
import { denoising } from '../../../plugins/objectives/denoising.js';
import { samples } from '../../../plugins/observe/samples.js';
import { sgd } from '../../../plugins/optimizers/sgd.js';
import { ddim } from '../../../plugins/samplers/ddim.js';
import { dpmSolverPlusPlus } from '../../../plugins/samplers/dpm-solver-plus-plus.js';
import { smallModel } from '../../support/small-model.js';

let out: string;
beforeAll(async () => {
  out = await mkdtemp(join(tmpdir(), 'steploom-'));
});
afterAll(() => rm(out, { recursive: true }));

/** A run of one step that draws one prompt before and after it. */
async function drawn(name: string, ...plugins: AnyPlugin[]): Promise<string> {
  const model = smallModel(['red'], 0);
  const unet = { ...model.unet, block_out_channels: [4, 4, 4], norm_num_groups: 2, sample_size: 4 };
  const images = { dtype: 'float32' as const, shape: [1, 8, 8, 3], data: new Float32Array(192).fill(0.5) };
  await new Trainer(
    compose(
      run({ learningRate: 1e-2, steps: 1 }),
      wasm({ threads: 1 }),
      textToImageModel({ from: { ...model, unet }, train: 'unet' }),
      arrays({ images }, { batchSize: 1, strings: { text: ['red'] } }),
      denoising(),
      sgd(),
      ...plugins,
    ),
  ).train();
  expect((await readdir(join(out, name))).sort()).toEqual(['grid-after.png', 'grid-before.png']);
  return (await readFile(join(out, name, 'grid-before.png'))).toString('base64');
}
const steps = { steps: 4, guidance: 1 };

test('draws with the run’s SAMPLER, or with one that it is given', async () => {
  const ofRun = await drawn('run', ddim(), samples(['red'], join(out, 'run'), steps));
  expect(await drawn('given', samples(['red'], join(out, 'given'), { ...steps, sampler: ddim() }))).toBe(ofRun);
  const other = { ...steps, sampler: dpmSolverPlusPlus() };
  expect(await drawn('both', ddim(), samples(['red'], join(out, 'both'), other))).not.toBe(ofRun);
  // One of the same name as the run's is another all the same.
  const noisy = { ...steps, sampler: ddim({ eta: 1 }) };
  expect(await drawn('same', ddim(), samples(['red'], join(out, 'same'), noisy))).not.toBe(ofRun);
});

test('draws on request, outside of a run, what it draws in it', async () => {
  const model = smallModel(['red', 'heart'], 0);
  const unet = { ...model.unet, block_out_channels: [4, 4, 4], norm_num_groups: 2, sample_size: 4 };
  const images = { dtype: 'float32' as const, shape: [1, 8, 8, 3], data: new Float32Array(192).fill(0.5) };
  const trainer = new Trainer(
    compose(
      run({ learningRate: 1e-2, steps: 1 }),
      wasm({ threads: 1 }),
      textToImageModel({ from: { ...model, unet }, train: 'unet' }),
      arrays({ images }, { batchSize: 1, strings: { text: ['red'] } }),
      denoising(),
      sgd(),
      ddim(),
      samples(['red'], join(out, 'asked'), steps),
    ),
  );
  const own = await trainer.sample();
  expect([own.shape, own.data.every((x) => x >= 0 && x <= 1)]).toEqual([[1, 8, 8, 3], true]);
  const two = await trainer.sample(['red', 'heart']);
  expect(two.shape).toEqual([2, 8, 8, 3]);
  expect(two.data.slice(0, 192)).toEqual(own.data);
  const { written } = await trainer.train({ keep: true });
  expect(written).toEqual(['grid-before.png', 'grid-after.png'].map((name) => join(out, 'asked', name)));
  expect((await trainer.sample()).data).not.toEqual(own.data);
  await trainer.dispose();
});

test('faults are named before training, those of a given sampler under its name', async () => {
  await expect(drawn('missing', samples(['red'], out, steps))).rejects.toThrow(/ROLE_MISSING \(samples\).*SAMPLER/);
  await expect(drawn('two', ddim(), dpmSolverPlusPlus(), samples(['red'], out, steps))).rejects.toThrow(/ROLE_TAKEN.*SAMPLER/);
  await expect(drawn('eta', ddim({ eta: -1 }))).rejects.toThrow(/OPTION_INVALID \(ddim\): eta is -1/);
  const spacing = 'even' as 'leading';
  await expect(drawn('spacing', samples(['red'], out, { steps: 0, guidance: 1, sampler: dpmSolverPlusPlus({ spacing }) }))).rejects.toThrow(
    /\(dpm-solver-plus-plus\): spacing is even(.|\n)*\(samples\): steps is 0/,
  );
});
