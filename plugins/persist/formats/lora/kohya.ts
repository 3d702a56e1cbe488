import type { TensorData } from '../../../../core/index.js';
import { dataOf, writeSafetensors } from '../safetensors.js';
import { sha256 } from '../sha256.js';
import type { WriteLoraOptions } from './diffusers.js';
import type { Family } from './family.js';
import { plainAlpha, type ScaledLoraMatrices } from './matrices.js';
import { modelMetadata, type TrainedModel } from './model-metadata.js';
import { compVisNames, splitPath, withTextModel } from './names.js';

/** The file name of adapters in kohya's form, by the name that programs show. */
export const kohyaFile = (name: string): string => `${name}.kohya.safetensors`;

/** What a kohya file says beside its matrices. */
export interface KohyaLoraOptions extends WriteLoraOptions, TrainedModel {
  /** How often each tag of the captions was trained on. */
  readonly tags?: ReadonlyMap<string, number>;
  /** The paths of all modules of the model, for the names of SDXL's UNet, which are the single file's. */
  readonly modules: Iterable<string>;
}

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
  const { family, name, tags, half = false } = options;
  const compVis = family === 'sdxl' ? compVisNames(options.modules) : new Map<string, string>();
  const tensors: Record<string, TensorData> = {};
  for (const module of modules) {
    const { path, a, b, magnitude } = module;
    const key = kohyaName(path, family, compVis);
    tensors[`${key}.lora_down.weight`] = a;
    tensors[`${key}.lora_up.weight`] = b;
    // As LyCORIS writes DoRA: a column, with an axis more for each of a kernel.
    if (magnitude) tensors[`${key}.dora_scale`] = { ...magnitude, shape: b.shape.map((size, axis) => (axis === 0 ? size : 1)) };
    tensors[`${key}.alpha`] = { dtype: 'float32', shape: [], data: Float32Array.of(plainAlpha(module)) };
  }
  const metadata: Record<string, string> = {
    ...options.metadata,
    ...modelMetadata(options),
    format: 'pt',
    ss_network_module: 'networks.lora',
    ss_network_dim: oneOr(modules.map(({ rank }) => rank)),
    ss_network_alpha: oneOr(modules.map(plainAlpha)),
    ...(tags && tags.size > 0 ? { ss_tag_frequency: JSON.stringify({ [name]: Object.fromEntries(tags) }) } : {}),
  };
  metadata.sshs_model_hash = await sha256(dataOf(writeSafetensors(tensors, { half })));
  return writeSafetensors(tensors, { metadata, half });
}

/** The one value of all modules; the word that kohya's scripts have for several. */
const oneOr = (values: readonly number[]): string => (new Set(values).size === 1 ? String(values[0]) : 'Dynamic');

/** More tags than these would make a header that programs read slowly, or refuse. */
const MOST_TAGS = 10_000;

/** How often each tag is in captions, where commas part them, as kohya's scripts count; the most frequent ones. */
export function tagFrequency(captions: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const caption of captions)
    for (const text of caption.split(',')) {
      const tag = text.trim().toLowerCase();
      if (tag !== '') counts.set(tag, (counts.get(tag) ?? 0) + 1);
    }
  return new Map([...counts].sort(([, a], [, b]) => b - a).slice(0, MOST_TAGS));
}
