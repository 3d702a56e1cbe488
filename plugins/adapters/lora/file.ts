import * as tf from '@tensorflow/tfjs';
import { fail, type Model, type Tensor, type TensorData, toHost } from '../../../core/index.js';
import { fileShape, fromFile, type Layout, toFile } from '../../models/layers/builder.js';
import { readSafetensors, writeSafetensors } from '../../persist/formats/safetensors.js';
import { loraModules, loraScale } from '../lora.js';

/** The file name diffusers looks for. */
export const LORA_FILE = 'pytorch_lora_weights.safetensors';

const ATTENTION = /\.(to_q|to_k|to_v|to_out\.0)$/;
const METADATA = 'lora_adapter_metadata';

/**
 * Writes a model's adapters as diffusers does. Files of attention targets alone use the keys `.lora.down` and `.lora.up`,
 * all others peft's `.lora_A` and `.lora_B` throughout: diffusers judges by the first key, and drops the rest of a mixed
 * file. alpha goes into the metadata, without which diffusers assumes a scale of 1.
 */
export async function writeLora(
  model: Model,
  weights: Record<string, Tensor>,
  { alpha, rank, rslora = false }: { alpha: number; rank: number; rslora?: boolean },
): Promise<Uint8Array> {
  const modules = loraModules(model, weights);
  if (modules.length === 0) fail('LORA_EMPTY', 'lora', 'the model has no adapters to write', 'Add lora() to the run.');
  const attention = modules.every(({ path }) => ATTENTION.test(path));
  const [down, up] = attention ? ['.lora.down.weight', '.lora.up.weight'] : ['.lora_A.weight', '.lora_B.weight'];
  const tensors: Record<string, TensorData> = {};
  for (const { path, facts, a, b } of modules)
    for (const [key, tensor] of [
      [path + down, a],
      [path + up, b],
    ] as const) {
      const spec = { shape: tensor.shape, layout: (facts.kind === 'linear' ? 'linear' : 'conv') as Layout };
      const { data } = await toHost(tensor);
      tensors[key] = { dtype: 'float32', shape: fileShape(spec), data: toFile(data as Float32Array, spec) };
    }
  const ends = [...new Set(modules.map(({ path }) => targetOf(path)))].sort();
  const config = {
    'unet.peft_type': 'LORA',
    'unet.r': rank,
    'unet.lora_alpha': alpha,
    'unet.use_rslora': rslora,
    'unet.lora_dropout': 0,
    'unet.bias': 'none',
    'unet.target_modules': ends,
  };
  return writeSafetensors(tensors, { metadata: { format: 'pt', [METADATA]: JSON.stringify(config, null, 2) } });
}

/** The shortest end of a path that says what it is: numbers say nothing by themselves. */
function targetOf(path: string): string {
  const parts = path.replace(/^unet\./, '').split('.');
  let from = parts.length - 1;
  while (from > 0 && /^\d+$/.test(parts[from])) from--;
  // "proj" alone would also match what does not belong to the feed-forward layer.
  return parts.slice(parts[from] === 'proj' ? Math.max(0, from - 2) : parts[from - 1] === 'net' ? from - 1 : from).join('.');
}

/** A file's adapters as tensors, which the caller owns, with the scale they are used at. */
export interface LoraFile {
  readonly modules: readonly { readonly path: string; readonly a: Tensor; readonly b: Tensor }[];
  readonly rank: number;
  readonly alpha: number;
  readonly scale: number;
}

/**
 * Reads an adapter file in either form of keys, or both mixed, with a per-module `.alpha` too. Without metadata or alpha
 * the scale is 1, as upstream.
 */
export function readLora(bytes: Uint8Array, model: Model, where = LORA_FILE): LoraFile {
  const { tensors, metadata } = readSafetensors(bytes, where);
  const found = new Map<string, { a?: TensorData; b?: TensorData; alpha?: number }>();
  const unknown: string[] = [];
  for (const [key, value] of tensors) {
    const match = /^(?:unet\.)?(.+?)(?:\.lora\.(down|up)\.weight|\.lora_(A|B)(?:\.default)?\.weight|\.(alpha))$/.exec(key);
    if (!match) {
      unknown.push(key);
      continue;
    }
    const path = `unet.${match[1]}`;
    const entry = found.get(path) ?? {};
    if (match[4]) entry.alpha = value.data[0];
    else if (match[2] === 'down' || match[3] === 'A') entry.a = value;
    else entry.b = value;
    found.set(path, entry);
  }
  const bad = (what: string): never => fail('LORA_MISMATCH', 'lora', `${where}: ${what}`, 'Use an adapter that was trained on this model.');
  if (unknown.length > 0)
    bad(`these keys belong to no adapter of the denoiser: ${unknown.slice(0, 4).join(', ')}${unknown.length > 4 ? ', ...' : ''}`);
  if (found.size === 0) bad('it holds no adapter');
  for (const [path, { a, b }] of found) {
    const facts = model.modules.get(path) ?? bad(`the model has no module ${path}`);
    if (!a || !b) return bad(`${path} has only one of its two matrices`);
    const rank = a.shape[0];
    const [size, out] = facts.shape.slice(-2);
    const wantA = facts.kind === 'linear' ? [rank, size] : [rank, size, facts.shape[0], facts.shape[1]];
    const wantB = facts.kind === 'linear' ? [out, rank] : [out, rank, 1, 1];
    if (String(a.shape) !== String(wantA) || String(b.shape) !== String(wantB))
      bad(`${path} has shapes [${a.shape}] and [${b.shape}], expected [${wantA}] and [${wantB}]`);
  }
  const rank = ([...found.values()][0].a as TensorData).shape[0];
  const config = metadata[METADATA] ? (JSON.parse(metadata[METADATA]) as Record<string, unknown>) : null;
  const own = [...found.values()].find((entry) => entry.alpha !== undefined)?.alpha;
  const alpha = Number(config?.['unet.lora_alpha'] ?? own ?? rank);
  const scale = loraScale(rank, alpha, config?.['unet.use_rslora'] === true);
  const modules = [...found].map(([path, { a, b }]) => {
    const kind = model.modules.get(path)?.kind === 'linear' ? 'linear' : 'conv';
    return { path, a: native(a as TensorData, kind), b: native(b as TensorData, kind) };
  });
  return { modules, rank, alpha, scale };
}

/** From PyTorch's layout, told by the file's own shape, to ours. */
function native({ shape, data }: TensorData, layout: 'linear' | 'conv'): Tensor {
  const own = layout === 'linear' ? [shape[1], shape[0]] : [shape[2], shape[3], shape[1], shape[0]];
  return tf.tensor(fromFile(data as Float32Array, { shape: own, layout }), own, 'float32');
}
