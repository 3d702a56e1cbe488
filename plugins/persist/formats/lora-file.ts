import { fail, type TensorData } from '../../../core/index.js';
import { readSafetensors, writeSafetensors } from './safetensors.js';

/** The file name diffusers looks for. */
export const LORA_FILE = 'pytorch_lora_weights.safetensors';

const ATTENTION = /\.(to_q|to_k|to_v|to_out\.0)$/;
const METADATA = 'lora_adapter_metadata';

/** A module's two matrices in PyTorch's layout: linear [r, in] and [out, r], convolutions [r, in, h, w] and [out, r, 1, 1]. */
export interface LoraMatrices {
  /** The module's path, which begins with `unet.`. */
  readonly path: string;
  readonly a: TensorData;
  readonly b: TensorData;
}

/** What a file of adapters says: matrices by module, and how they are scaled. */
export interface LoraFile {
  readonly modules: readonly LoraMatrices[];
  readonly rank: number;
  readonly alpha: number;
  /** Scaled by alpha / sqrt(rank) in place of alpha / rank. */
  readonly rslora: boolean;
}

/**
 * Writes adapters as diffusers does. Files of attention targets alone use the keys `.lora.down` and `.lora.up`, all others peft's
 * `.lora_A` and `.lora_B` throughout: diffusers judges by the first key, and drops the rest of a mixed file. alpha goes into the
 * metadata, without which diffusers assumes a scale of 1.
 */
export function writeLoraFile({ modules, rank, alpha, rslora }: LoraFile): Uint8Array {
  const attention = modules.every(({ path }) => ATTENTION.test(path));
  const [down, up] = attention ? ['.lora.down.weight', '.lora.up.weight'] : ['.lora_A.weight', '.lora_B.weight'];
  const tensors: Record<string, TensorData> = {};
  for (const { path, a, b } of modules) {
    tensors[path + down] = a;
    tensors[path + up] = b;
  }
  const targets = [...new Set(modules.map(({ path }) => targetOf(path)))].sort();
  const config = {
    'unet.peft_type': 'LORA',
    'unet.r': rank,
    'unet.lora_alpha': alpha,
    'unet.use_rslora': rslora,
    'unet.lora_dropout': 0,
    'unet.bias': 'none',
    'unet.target_modules': targets,
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

/** Refuses an adapter that does not fit: LORA_MISMATCH, with the file's name. */
export const loraMismatch = (where: string, what: string): never =>
  fail('LORA_MISMATCH', 'lora', `${where}: ${what}`, 'Use an adapter that was trained on this model.');

/**
 * Reads adapters in either form of keys, or both mixed, with a per-module `.alpha` too. Without metadata or alpha the scale is 1, as
 * upstream. `where` names the file in errors.
 */
export function readLoraFile(bytes: Uint8Array, where = LORA_FILE): LoraFile {
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
  if (unknown.length > 0)
    loraMismatch(
      where,
      `these keys belong to no adapter of the denoiser: ${unknown.slice(0, 4).join(', ')}${unknown.length > 4 ? ', ...' : ''}`,
    );
  if (found.size === 0) loraMismatch(where, 'it holds no adapter');
  const modules = [...found].map(([path, { a, b }]): LoraMatrices => {
    if (!a || !b) return loraMismatch(where, `${path} has only one of its two matrices`);
    return { path, a, b };
  });
  const rank = modules[0].a.shape[0];
  const config = metadata[METADATA] ? (JSON.parse(metadata[METADATA]) as Record<string, unknown>) : null;
  const perModule = [...found.values()].find((entry) => entry.alpha !== undefined)?.alpha;
  const alpha = Number(config?.['unet.lora_alpha'] ?? perModule ?? rank);
  return { modules, rank, alpha, rslora: config?.['unet.use_rslora'] === true };
}
