import { existsSync } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { fail, fromHost, invalidOption, type Model, messageOf, type Settings, seededRandom } from '../../core/index.js';
import { mergeLora } from '../../plugins/adapters/lora/merge.js';
import { type LoadedAdapter, readLora } from '../../plugins/adapters/lora/serialize.js';
import { DEVICES, type DeviceName } from '../../plugins/devices/choice/candidates.js';
import { device } from '../../plugins/devices/device.js';
import { buildTextToImage, type TextToImage } from '../../plugins/models/text-to-image-model.js';
import { folder } from '../../plugins/persist/formats/folder.js';
import { LORA_FILE, loraMismatch, loraScale } from '../../plugins/persist/formats/lora-file.js';
import { CHECKSUMS, readSnapshot } from '../../plugins/persist/formats/snapshot-files.js';
import { emojiBaseFolder } from '../common/package-root.js';

/** The options of commands that open a model. */
export const openOptions = {
  pretrainedModelNameOrPath: z.string().optional().describe('A model in diffusers’ folder layout; the packaged emoji base by default.'),
  device: z.string().default('auto').describe('Where to compute.'),
  lora: z
    .union([z.string(), z.array(z.string()).readonly()])
    .describe('Adapters, each a .safetensors file, the folder of a run or of a checkpoint, with :0.8 behind it for less than its whole.'),
};

type OpenOptions = Partial<z.output<z.ZodObject<typeof openOptions>>>;

/** `path:0.5` is half of the adapter. */
function parseAdapter(given: string): { path: string; share: number } {
  const [, path, share] = /^(.+?)(?::(-?\d+(?:\.\d+)?))?$/s.exec(given) ?? [given, given];
  // A file may bear such a name itself.
  return share === undefined || existsSync(given) ? { path: given, share: 1 } : { path, share: Number(share) };
}

/** The adapters of a checkpoint's snapshot, whose matrices stand among its parameters as the model has them. */
async function readCheckpoint(path: string, model: Model): Promise<LoadedAdapter[]> {
  const { parameters, settings } = await readSnapshot(folder(path));
  const { rank, alpha, rslora } = (settings?.lora ?? {}) as Settings;
  if (typeof rank !== 'number' || typeof alpha !== 'number') return loraMismatch(path, 'it is the checkpoint of a run without LoRA');
  const ends = ['.lora_A.weight', '.lora_B.weight'] as const;
  const modules = Object.keys(parameters).flatMap((name) => (name.endsWith(ends[0]) ? [name.slice(0, -ends[0].length)] : []));
  return modules.map((module) => {
    const [a, b] = ends.map((end) => parameters[module + end]);
    if (!model.modules.has(module) || !b) return loraMismatch(path, `the model has no module ${module}`);
    return { path: module, a: fromHost(a), b: fromHost(b), rank, alpha, scale: loraScale(rank, alpha, rslora === true) };
  });
}

/** An adapter as a file, the folder of a run that has ended, or that of a checkpoint. */
async function readAdapter(given: string, model: Model): Promise<LoadedAdapter[]> {
  const isFolder = await stat(given).then(
    (found) => found.isDirectory(),
    () => false,
  );
  if (isFolder && existsSync(join(given, CHECKSUMS))) return readCheckpoint(given, model);
  const path = isFolder ? join(given, LORA_FILE) : given;
  let bytes: Uint8Array;
  try {
    bytes = await readFile(path);
  } catch (error) {
    const what = `${path} cannot be read: ${messageOf(error)}`;
    return fail('FILE_MISSING', 'lora', what, 'Give a .safetensors file, or the folder of a run or of a checkpoint.', error);
  }
  return readLora(bytes, model, path);
}

/** A model on a device, with adapters merged into its weights, one after another, if any are given. */
export async function openModel({ pretrainedModelNameOrPath, device: name = 'auto', lora = [] }: OpenOptions): Promise<TextToImage> {
  if (name !== 'auto' && !DEVICES.includes(name as DeviceName))
    throw invalidOption('device', `there is no device "${name}"`, `There are: auto, ${DEVICES.join(', ')}.`);
  await device(name as DeviceName | 'auto').setUp();
  const model = await buildTextToImage({ from: folder(pretrainedModelNameOrPath ?? emojiBaseFolder()), train: 'nothing' }, seededRandom(0));
  for (const given of [lora].flat()) {
    const { path, share } = parseAdapter(given);
    const adapters = await readAdapter(path, model);
    await mergeLora(
      model,
      adapters.map((adapter) => ({ ...adapter, scale: adapter.scale * share })),
    );
    for (const { a, b } of adapters) {
      a.dispose();
      b.dispose();
    }
  }
  return model;
}
