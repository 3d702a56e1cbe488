import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { compose, run, Trainer } from '../../../core/index.js';
import { arrays } from '../../../plugins/data/arrays.js';
import { cpu } from '../../../plugins/devices/cpu.js';
import { textToImageModel } from '../../../plugins/models/text-to-image-model.js';
import { denoising } from '../../../plugins/objectives/denoising.js';
import { sgd } from '../../../plugins/optimizers/sgd.js';
import { type Files, inMemory } from '../../../plugins/persist/formats/files.js';
import { folder } from '../../../plugins/persist/formats/folder.js';
import { saveModel } from '../../../plugins/persist/save-model.js';
import { ema } from '../../../plugins/weights/ema.js';

const sd15 = fileURLToPath(new URL('../../fixtures/pipelines/sd15', import.meta.url));

/** One step with an average, saved. */
const train = async (into: string | Files, averaged?: Files) => {
  const images = { dtype: 'float32' as const, shape: [1, 16, 16, 3], data: new Float32Array(16 * 16 * 3).fill(0.5) };
  return new Trainer(
    compose(
      run({ learningRate: 0.1, steps: 1 }),
      cpu(),
      textToImageModel({ from: folder(sd15), train: 'unet' }),
      arrays({ images }, { batchSize: 1, strings: { text: ['red'] } }),
      denoising(),
      sgd(),
      ema({ decay: 0.5 }),
      saveModel(into, averaged ? { averaged } : {}),
    ),
  ).train();
};

test('a folder is given the model and the averaged one below names of their own; files are the model’s place itself', async () => {
  const out = await mkdtemp(join(tmpdir(), 'steploom-'));
  const { written } = await train(out);
  expect(written).toEqual([join(out, 'model'), join(out, 'model-averaged')]);
  const parts = ['model_index.json', 'scheduler', 'text_encoder', 'tokenizer', 'unet', 'vae'];
  for (const name of ['model', 'model-averaged']) expect((await readdir(join(out, name))).sort()).toEqual(parts);
  const [plain, averaged] = [inMemory(), inMemory()];
  await train(plain, averaged);
  const weights = 'unet/diffusion_pytorch_model.safetensors';
  expect(await plain.read(weights)).toEqual(await folder(join(out, 'model')).read(weights));
  expect(await averaged.read(weights)).toEqual(await folder(join(out, 'model-averaged')).read(weights));
  await rm(out, { recursive: true });
});
