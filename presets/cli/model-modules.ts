import type { ModuleFacts } from '../../core/index.js';
import { clipText } from '../../plugins/models/clip/text-encoder.js';
import { unet2DCondition } from '../../plugins/models/unet/unet2d-condition.js';
import { type Files, readJson } from '../../plugins/persist/formats/files.js';

/** The modules of a model in diffusers' layout, by its configurations alone: no weights are read. */
export async function modulesOf(files: Files): Promise<Map<string, ModuleFacts>> {
  const modules = new Map(unet2DCondition(await readJson(files, 'unet/config.json')).modules);
  for (const encoder of ['text_encoder', 'text_encoder_2'])
    if (encoder === 'text_encoder' || (await files.read(`${encoder}/config.json`)))
      for (const [path, facts] of clipText(await readJson(files, `${encoder}/config.json`), `${encoder}.`).modules)
        modules.set(path, facts);
  return modules;
}
