import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { fail, invalidOption, messageOf, seededRandom } from '../../core/index.js';
import { mergeLora } from '../../plugins/adapters/lora/merge.js';
import { readLora } from '../../plugins/adapters/lora/serialize.js';
import { DEVICES, type DeviceName } from '../../plugins/devices/choice/candidates.js';
import { device } from '../../plugins/devices/device.js';
import { buildTextToImage, type TextToImage } from '../../plugins/models/text-to-image-model.js';
import { folder } from '../../plugins/persist/formats/folder.js';
import { LORA_FILE } from '../../plugins/persist/formats/lora-file.js';
import { emojiBaseFolder } from '../common/package-root.js';

/** The options of commands that open a model. */
export const openOptions = {
  pretrainedModelNameOrPath: z.string().optional().describe('A model in diffusers’ folder layout; the packaged emoji base by default.'),
  device: z.string().default('auto').describe('Where to compute.'),
  lora: z.string().describe('An adapter: a .safetensors file, or the folder of a run.'),
};

type OpenOptions = Partial<z.output<z.ZodObject<typeof openOptions>>>;

/** An adapter's bytes and where they were; a run's folder stands for the adapter in it. */
async function readAdapter(given: string): Promise<{ path: string; bytes: Uint8Array }> {
  const isFolder = await stat(given).then(
    (found) => found.isDirectory(),
    () => false,
  );
  const path = isFolder ? join(given, LORA_FILE) : given;
  try {
    return { path, bytes: await readFile(path) };
  } catch (error) {
    const what = `${path} cannot be read: ${messageOf(error)}`;
    return fail('FILE_MISSING', 'lora', what, 'Give a .safetensors file or the folder of a run.', error);
  }
}

/** A model on a device, with an adapter merged into its weights if one is given. */
export async function openModel({ pretrainedModelNameOrPath, device: name = 'auto', lora }: OpenOptions): Promise<TextToImage> {
  if (name !== 'auto' && !DEVICES.includes(name as DeviceName))
    throw invalidOption('device', `there is no device "${name}"`, `There are: auto, ${DEVICES.join(', ')}.`);
  await device(name as DeviceName | 'auto').setUp();
  const model = await buildTextToImage({ from: folder(pretrainedModelNameOrPath ?? emojiBaseFolder()), train: 'nothing' }, seededRandom(0));
  if (lora === undefined) return model;
  const { path, bytes } = await readAdapter(lora);
  const { modules, scale } = readLora(bytes, model, path);
  await mergeLora(model, modules, scale);
  for (const { a, b } of modules) {
    a.dispose();
    b.dispose();
  }
  return model;
}
