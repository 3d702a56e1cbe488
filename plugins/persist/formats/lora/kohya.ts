import type { TensorData } from '../../../../core/index.js';
import { dataOf, writeSafetensors } from '../safetensors.js';
import { sha256 } from '../sha256.js';
import type { WriteLoraOptions } from './diffusers.js';
import type { Family } from './family.js';
import { plainAlpha, type ScaledLoraMatrices } from './matrices.js';
import { compVisNames, splitPath, withTextModel } from './names.js';

/** The file name of adapters in kohya's form, by the name that programs show. */
export const kohyaFile = (name: string): string => `${name}.kohya.safetensors`;

/** What a kohya file says of itself, beside its matrices. */
export interface KohyaLoraOptions extends WriteLoraOptions {
  readonly family: Family;
  /** The model predicts v, not the noise. */
  readonly vPrediction?: boolean;
  /** The name programs show. */
  readonly name: string;
  /** The side of the pictures it was trained on, in pixels; the family's usual one by default. */
  readonly resolution?: number;
  /** How often each tag of the captions was trained on. */
  readonly tags?: ReadonlyMap<string, number>;
  /** All modules of the model, for the names of SDXL's UNet, which are the single file's. */
  readonly modules: Iterable<string>;
}

/** The names that kohya's scripts have for base models, and Stability's ModelSpec for architectures. */
const BASES = {
  sd1: { base: 'sd_v1', architecture: 'stable-diffusion-v1', side: 512 },
  sd2: { base: 'sd_v2', architecture: 'stable-diffusion-v2-512', side: 512 },
  sd2v: { base: 'sd_v2_v', architecture: 'stable-diffusion-v2-768-v', side: 768 },
  sdxl: { base: 'sdxl_base_v1-0', architecture: 'stable-diffusion-xl-v1-base', side: 1024 },
} as const;

const TEXT_PREFIXES = { sdxl: { text_encoder: 'lora_te1', text_encoder_2: 'lora_te2' }, other: { text_encoder: 'lora_te' } } as const;

/** A module's name in kohya's files. */
function kohyaName(path: string, family: Family, compVis: ReadonlyMap<string, string>): string {
  const { component, rest } = splitPath(path);
  if (component === 'unet') return `lora_unet_${((family === 'sdxl' && compVis.get(path)) || rest).replaceAll('.', '_')}`;
  const prefixes: Readonly<Record<string, string>> = family === 'sdxl' ? TEXT_PREFIXES.sdxl : TEXT_PREFIXES.other;
  return `${prefixes[component]}_${withTextModel(rest).replaceAll('.', '_')}`;
}

/**
 * Writes adapters as kohya's scripts do, for ComfyUI and AUTOMATIC1111, with the metadata that these look at: base model, rank, alpha, name,
 * tags, and the hash by which AUTOMATIC1111 knows a file (SHA-256 of all that follows the header). No date is among them: the same adapters
 * give the same bytes. Needs Web Cryptography, which Node and secure pages have.
 */
export async function writeKohyaLora(modules: readonly ScaledLoraMatrices[], options: KohyaLoraOptions): Promise<Uint8Array> {
  const { family, vPrediction = false, name, tags, half = false } = options;
  const compVis = family === 'sdxl' ? compVisNames(options.modules) : new Map<string, string>();
  const tensors: Record<string, TensorData> = {};
  for (const module of modules) {
    const { path, a, b } = module;
    const key = kohyaName(path, family, compVis);
    tensors[`${key}.lora_down.weight`] = a;
    tensors[`${key}.lora_up.weight`] = b;
    tensors[`${key}.alpha`] = { dtype: 'float32', shape: [], data: Float32Array.of(plainAlpha(module)) };
  }
  const { base, architecture, side } = BASES[family === 'sd2' && vPrediction ? 'sd2v' : family];
  const resolution = options.resolution ?? side;
  const metadata: Record<string, string> = {
    ...options.metadata,
    format: 'pt',
    ss_base_model_version: base,
    ss_v2: family === 'sd2' ? 'True' : 'False',
    ss_network_module: 'networks.lora',
    ss_network_dim: oneOr(modules.map(({ rank }) => rank)),
    ss_network_alpha: oneOr(modules.map(plainAlpha)),
    ss_output_name: name,
    ...(tags && tags.size > 0 ? { ss_tag_frequency: JSON.stringify({ [name]: Object.fromEntries(tags) }) } : {}),
    'modelspec.sai_model_spec': '1.0.0',
    'modelspec.architecture': `${architecture}/lora`,
    'modelspec.implementation': family === 'sdxl' ? 'https://github.com/Stability-AI/generative-models' : 'diffusers',
    'modelspec.title': name,
    'modelspec.resolution': `${resolution}x${resolution}`,
    'modelspec.prediction_type': vPrediction ? 'v' : 'epsilon',
  };
  metadata.sshs_model_hash = await sha256(dataOf(writeSafetensors(tensors, { half })));
  return writeSafetensors(tensors, { metadata, half });
}

/** The one value of all modules; the word that kohya's scripts have for several. */
const oneOr = (values: readonly number[]): string => (new Set(values).size === 1 ? String(values[0]) : 'Dynamic');

/** How often each tag is in captions, where commas part them, as kohya's scripts count. */
export function tagFrequency(captions: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const caption of captions)
    for (const tag of caption
      .split(',')
      .map((text) => text.trim().toLowerCase())
      .filter(Boolean))
      counts.set(tag, (counts.get(tag) ?? 0) + 1);
  return counts;
}
