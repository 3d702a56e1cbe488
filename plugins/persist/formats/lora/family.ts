import type { ModuleFacts } from '../../../../core/index.js';
import type { SafetensorsFile } from '../safetensors.js';

/** The families of Stable Diffusion whose adapters have forms of their own. */
export type Family = 'sd1' | 'sd2' | 'sdxl';

/** What people call them. */
export const FAMILY_NAMES: Readonly<Record<Family, string>> = { sd1: 'Stable Diffusion 1', sd2: 'Stable Diffusion 2', sdxl: 'SDXL' };

/**
 * The family a model is built like, whatever its size: only SDXL has a second text encoder or an embedding of the picture's size, and
 * Stable Diffusion 1 projects into its attention with convolutions, 2 with matrices. Null where there is no such attention.
 */
export function familyOfModel(modules: ReadonlyMap<string, ModuleFacts>): Family | null {
  for (const path of modules.keys()) if (/^(text_encoder_2\.|unet\.add_embedding\.)/.test(path)) return 'sdxl';
  for (const [path, { kind }] of modules) if (/^unet\..*\.proj_in$/.test(path)) return kind === 'conv2d' ? 'sd1' : 'sd2';
  return null;
}

/** The family that a file's metadata notes: kohya's in ss_base_model_version, others in modelspec.architecture. Null where there is none. */
export function familyOfMetadata(metadata: SafetensorsFile['metadata']): string | null {
  const base = String(metadata.ss_base_model_version ?? metadata['modelspec.architecture'] ?? '').toLowerCase();
  if (base === '') return metadata.ss_v2 === 'True' ? FAMILY_NAMES.sd2 : null;
  if (/^sdxl|^stable-diffusion-xl/.test(base)) return FAMILY_NAMES.sdxl;
  if (/^sd_?v?1|^stable-diffusion-v1/.test(base)) return FAMILY_NAMES.sd1;
  if (/^sd_?v?2|^stable-diffusion-v2/.test(base)) return FAMILY_NAMES.sd2;
  if (/^sd_?3|^stable-diffusion-3/.test(base)) return 'Stable Diffusion 3';
  if (/^flux/.test(base)) return 'Flux';
  return base.replace(/\/lora$/, '');
}

/** Names that only one family's modules have. */
const TELLING: readonly (readonly [family: string, key: RegExp])[] = [
  ['Flux', /double_blocks|single_blocks|single_transformer_blocks/],
  ['Stable Diffusion 3', /joint_blocks|(^|[._])transformer[._]transformer_blocks/],
  ['Stable Cascade', /^lora_prior_/],
  ['Wan', /(^|[._])blocks[._]\d+[._](self|cross)_attn/],
  [
    FAMILY_NAMES.sdxl,
    /^lora_te2_|^text_encoder_2\.|^(lora_unet_|unet\.)(down_blocks|input_blocks|up_blocks|output_blocks).*transformer_blocks[._][1-9]/,
  ],
];

/** The widths of text states: what reads them, and what makes them. */
const WIDTHS: Readonly<Record<number, Family>> = { 768: 'sd1', 1024: 'sd2', 2048: 'sdxl' };

/** The family of an adapter, by its metadata, its keys or the widths of its matrices; null where nothing tells it. */
export function familyOfAdapter({ tensors, metadata }: SafetensorsFile): string | null {
  const noted = familyOfMetadata(metadata);
  if (noted) return noted;
  const keys = [...tensors.keys()];
  const told = TELLING.find(([, pattern]) => keys.some((key) => pattern.test(key)));
  if (told) return told[0];
  for (const [key, { shape }] of tensors)
    if (/attn2[._](processor\.)?to_[kv](_lora)?\.(lora[._])?(lora_)?(down|A)/.test(key) && WIDTHS[shape[1]])
      return FAMILY_NAMES[WIDTHS[shape[1]]];
  if (keys.some((key) => /^lora_te1_|^lora_unet_input_blocks_/.test(key))) return FAMILY_NAMES.sdxl;
  // The first text encoder of SDXL is as wide as that of Stable Diffusion 1, but kohya's name it te1.
  for (const [key, { shape }] of tensors)
    if (/^lora_te_.*[qkv]_proj.*down/.test(key) && WIDTHS[shape[1]]) return FAMILY_NAMES[WIDTHS[shape[1]]];
  return null;
}
