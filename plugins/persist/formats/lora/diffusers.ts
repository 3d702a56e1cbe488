import type { TensorData } from '../../../../core/index.js';
import { writeSafetensors } from '../safetensors.js';
import { METADATA } from './config.js';
import { plainAlpha, type ScaledLoraMatrices } from './matrices.js';
import { splitPath, withTextModel } from './names.js';

const ATTENTION = /\.(to_q|to_k|to_v|to_out\.0)$/;

/** What is written beside a file's tensors. */
export interface WriteLoraOptions {
  /** Write float16. */
  readonly half?: boolean;
  /** What else the file says of itself. Entries that the form itself has are written anew. */
  readonly metadata?: Readonly<Record<string, string>>;
}

/**
 * Writes adapters as diffusers does, with peft's configuration of each component in the metadata, without which diffusers would assume a
 * scale of 1. A UNet's adapters of attention alone use the keys `.lora.down` and `.lora.up`, all others peft's `.lora_A` and `.lora_B`
 * throughout: diffusers judges by the first key, and drops the rest of a mixed file. Text encoders' use `.lora_linear_layer` and
 * `text_model.`, which every version of diffusers and ComfyUI reads.
 */
export function writeLoraFile(modules: readonly ScaledLoraMatrices[], { half = false, metadata }: WriteLoraOptions = {}): Uint8Array {
  const tensors: Record<string, TensorData> = {};
  const config: Record<string, unknown> = {};
  const components = new Map<string, ScaledLoraMatrices[]>();
  for (const module of modules) {
    const { component } = splitPath(module.path);
    components.set(component, [...(components.get(component) ?? []), module]);
  }
  for (const [component, own] of components) {
    const text = component.startsWith('text_encoder');
    // Only peft's keys go with magnitudes.
    const attention = own.every(({ path, magnitude }) => ATTENTION.test(path) && !magnitude);
    const [down, up] = text
      ? ['.lora_linear_layer.down', '.lora_linear_layer.up']
      : attention
        ? ['.lora.down', '.lora.up']
        : ['.lora_A', '.lora_B'];
    const prefix = component === '' ? '' : `${component}.`;
    for (const { path, a, b, magnitude } of own) {
      const { rest } = splitPath(path);
      const key = prefix + (text ? withTextModel(rest) : rest);
      tensors[`${key}${down}.weight`] = a;
      tensors[`${key}${up}.weight`] = b;
      // peft has those of convolutions as a tensor of four axes.
      if (magnitude)
        tensors[`${key}.lora_magnitude_vector`] = b.shape.length === 4 ? { ...magnitude, shape: [1, b.shape[0], 1, 1] } : magnitude;
    }
    for (const [name, value] of Object.entries(peftConfig(own))) config[prefix + name] = value;
  }
  return writeSafetensors(tensors, { metadata: { ...metadata, format: 'pt', [METADATA]: JSON.stringify(config, null, 2) }, half });
}

/** peft's LoraConfig of one component's adapters. Modules whose rank or alpha is not the usual one are named in the patterns. */
function peftConfig(modules: readonly ScaledLoraMatrices[]): Record<string, unknown> {
  // One switch for all: where some scale by the square root, alphas say what comes out.
  const rslora = modules.every((module) => module.rslora);
  const scaled = modules.map((module) => ({
    name: splitPath(module.path).rest,
    rank: module.rank,
    alpha: rslora ? module.alpha : plainAlpha(module),
  }));
  const [rank, alpha] = [mostFrequent(scaled.map((module) => module.rank)), mostFrequent(scaled.map((module) => module.alpha))];
  return {
    peft_type: 'LORA',
    r: rank,
    lora_alpha: alpha,
    rank_pattern: Object.fromEntries(scaled.filter((module) => module.rank !== rank).map((module) => [module.name, module.rank])),
    alpha_pattern: Object.fromEntries(scaled.filter((module) => module.alpha !== alpha).map((module) => [module.name, module.alpha])),
    use_rslora: rslora,
    use_dora: modules.some(({ magnitude }) => magnitude !== undefined),
    lora_dropout: 0,
    bias: 'none',
    target_modules: scaled.map(({ name }) => name).sort(),
  };
}

/** The value that is there most often; of several, the first. */
function mostFrequent(values: readonly number[]): number {
  const counts = new Map<number, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return [...counts].reduce((best, one) => (one[1] > best[1] ? one : best))[0];
}
