import { readFile } from 'node:fs/promises';
import { fail, type Random, seededRandom, type Tensors, weightsOf } from '../../core/index.js';
import { mergeLora } from '../../plugins/adapters/lora/merge.js';
import { readLora } from '../../plugins/adapters/lora/serialize.js';
import { DEVICES, type DeviceName, device } from '../../plugins/devices/pick.js';
import { buildTextToImage, type TextToImage } from '../../plugins/models/text-to-image-model.js';
import { folder } from '../../plugins/persist/formats/folder.js';
import { writeGrid } from '../../plugins/persist/formats/png.js';
import { ddim } from '../../plugins/samplers/ddim.js';
import { dpmSolverPlusPlus } from '../../plugins/samplers/dpm-solver-plus-plus.js';
import { sampleImages } from '../../plugins/samplers/walk/sample-images.js';
import { emojiBaseFolder } from '../common/package-root.js';

const SAMPLERS = { ddim: () => ddim({ useClippedModelOutput: true }), 'dpm-solver++': () => dpmSolverPlusPlus({ clip: true }) };

/** A model on a device, with an adapter merged into its weights if one is given. */
export async function openModel(path: string | undefined, on: string, lora?: string): Promise<TextToImage> {
  if (on !== 'auto' && !DEVICES.includes(on as DeviceName))
    fail('OPTION_INVALID', 'device', `there is no device "${on}"`, `There are: auto, ${DEVICES.join(', ')}.`);
  await device(on as DeviceName | 'auto').setUp();
  const model = await buildTextToImage({ from: folder(path ?? emojiBaseFolder()), train: 'nothing' }, seededRandom(0));
  if (lora === undefined) return model;
  let bytes: Uint8Array;
  try {
    bytes = await readFile(lora);
  } catch (error) {
    return fail(
      'FILE_MISSING',
      'lora',
      `${lora} cannot be read: ${(error as Error).message}`,
      'Give a .safetensors file or the folder of a run.',
      error,
    );
  }
  const file = readLora(bytes, model, lora);
  await mergeLora(model, file.modules, file.scale);
  for (const { a, b } of file.modules) {
    a.dispose();
    b.dispose();
  }
  return model;
}

export interface DrawOptions {
  readonly sampler: string;
  readonly steps: number;
  readonly guidance: number;
  readonly output: string;
  readonly random: Random;
}

/** Draws prompts into one PNG. */
export async function drawTo(model: TextToImage, prompts: readonly string[], o: DrawOptions): Promise<void> {
  const make =
    SAMPLERS[o.sampler as keyof typeof SAMPLERS] ??
    fail('OPTION_INVALID', 'sampler', `there is no sampler "${o.sampler}"`, `There are: ${Object.keys(SAMPLERS).join(', ')}.`);
  if (!(o.guidance >= 1)) fail('OPTION_INVALID', 'sampler', `the guidance scale is ${o.guidance}`, 'Give a number of at least 1.');
  const { shape, data } = await sampleImages(model, weightsOf(model), o.random, prompts, {
    sampler: make(),
    steps: o.steps,
    guidance: o.guidance,
  });
  const size = shape[1] * shape[2] * 3;
  const images = prompts.map((_, i) => data.slice(i * size, (i + 1) * size).map((x) => (x + 1) / 2));
  await writeGrid(o.output, images, { height: shape[1], width: shape[2] }, Math.min(8, prompts.length), shape[1] < 128 ? 8 : 1);
}

/** Writes a model in diffusers' layout. */
export const saveTo = (path: string, model: TextToImage, weights: Tensors, half: boolean): Promise<void> =>
  model.save(folder(path), weights, { half });
