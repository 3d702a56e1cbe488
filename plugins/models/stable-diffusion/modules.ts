import type { ModuleFacts } from '../../../core/index.js';
import { type Files, readJson } from '../../persist/formats/files.js';
import type { Family as LoraFamily } from '../../persist/formats/lora/family.js';
import { clipText } from '../clip/text-encoder.js';
import { unet2DCondition } from '../unet/unet2d-condition.js';
import type { Family } from './family.js';
import { publishedModel } from './published-model.js';
import { familyOf } from './read.js';

/** A family, and what unet/config.json and those of its text encoders say. */
interface Configs {
  readonly family: Family;
  readonly unet: object;
  readonly texts: readonly object[];
}

function modulesOf({ family, unet, texts }: Configs): Map<string, ModuleFacts> {
  const encoders = family.encoders.map(({ folder, kind }, i) =>
    clipText(texts[i], `${folder}.`, {}, kind === 'CLIPTextModelWithProjection'),
  );
  return new Map([unet2DCondition(unet), ...encoders].flatMap(({ modules }) => [...modules]));
}

/** The modules of a family's published models, which nearly all others are made from. No weights are made. */
export function standardModules(name: LoraFamily): Map<string, ModuleFacts> {
  const { family, published } = publishedModel(name);
  return modulesOf({ family, unet: published.unet, texts: published.encoders });
}

/** The modules of a model in diffusers' layout, by its configurations alone: no weights are read. */
export async function modulesOfFolder(files: Files): Promise<Map<string, ModuleFacts>> {
  const family = familyOf(await readJson(files, 'model_index.json'), files.where);
  const texts: object[] = [];
  for (const { folder } of family.encoders) texts.push(await readJson(files, `${folder}/config.json`));
  return modulesOf({ family, unet: await readJson(files, 'unet/config.json'), texts });
}
