import type { ModuleFacts } from '../../../core/index.js';
import { type Files, readJson } from '../../persist/formats/files.js';
import type { Family as LoraFamily } from '../../persist/formats/lora/family.js';
import { clipText } from '../clip/text-encoder.js';
import { unet2DCondition } from '../unet/unet2d-condition.js';
import { stableDiffusion } from './families/stable-diffusion.js';
import { stableDiffusionXL } from './families/stable-diffusion-xl.js';
import type { Family } from './family.js';
import { familyOf } from './read.js';

// What the published models' config.json say, where it decides which modules there are.
const CLIP_L = { hidden_size: 768, intermediate_size: 3072, num_hidden_layers: 12, num_attention_heads: 12 };
const OPEN_CLIP_H = { hidden_size: 1024, intermediate_size: 4096, num_hidden_layers: 23, num_attention_heads: 16, hidden_act: 'gelu' };
const OPEN_CLIP_G = {
  hidden_size: 1280,
  intermediate_size: 5120,
  num_hidden_layers: 32,
  num_attention_heads: 20,
  hidden_act: 'gelu',
  projection_dim: 1280,
};

/** A family, and what unet/config.json and those of its text encoders say. */
interface Configs {
  readonly family: Family;
  readonly unet: object;
  readonly texts: readonly object[];
}

const PUBLISHED: Readonly<Record<LoraFamily, Configs>> = {
  sd1: { family: stableDiffusion, unet: { cross_attention_dim: 768 }, texts: [CLIP_L] },
  sd2: {
    family: stableDiffusion,
    unet: { cross_attention_dim: 1024, attention_head_dim: [5, 10, 20, 20], use_linear_projection: true },
    texts: [OPEN_CLIP_H],
  },
  sdxl: {
    family: stableDiffusionXL,
    unet: {
      block_out_channels: [320, 640, 1280],
      down_block_types: ['DownBlock2D', 'CrossAttnDownBlock2D', 'CrossAttnDownBlock2D'],
      up_block_types: ['CrossAttnUpBlock2D', 'CrossAttnUpBlock2D', 'UpBlock2D'],
      transformer_layers_per_block: [1, 2, 10],
      attention_head_dim: [5, 10, 20],
      cross_attention_dim: 2048,
      use_linear_projection: true,
      addition_embed_type: 'text_time',
      addition_time_embed_dim: 256,
      projection_class_embeddings_input_dim: 2816,
    },
    texts: [CLIP_L, OPEN_CLIP_G],
  },
};

function modulesOf({ family, unet, texts }: Configs): Map<string, ModuleFacts> {
  const encoders = family.encoders.map(({ folder, kind }, i) =>
    clipText(texts[i], `${folder}.`, {}, kind === 'CLIPTextModelWithProjection'),
  );
  return new Map([unet2DCondition(unet), ...encoders].flatMap(({ modules }) => [...modules]));
}

/** The modules of a family's published models, which nearly all others are made from. No weights are made. */
export const standardModules = (family: LoraFamily): Map<string, ModuleFacts> => modulesOf(PUBLISHED[family]);

/** The modules of a model in diffusers' layout, by its configurations alone: no weights are read. */
export async function modulesOfFolder(files: Files): Promise<Map<string, ModuleFacts>> {
  const family = familyOf(await readJson(files, 'model_index.json'), files.where);
  const texts: object[] = [];
  for (const { folder } of family.encoders) texts.push(await readJson(files, `${folder}/config.json`));
  return modulesOf({ family, unet: await readJson(files, 'unet/config.json'), texts });
}
