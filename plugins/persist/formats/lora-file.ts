import { fail, messageOf, type TensorData } from '../../../core/index.js';
import { readSafetensors, type SafetensorsFile, writeSafetensors } from './safetensors.js';

/** The file name diffusers looks for. */
export const LORA_FILE = 'pytorch_lora_weights.safetensors';

const ATTENTION = /\.(to_q|to_k|to_v|to_out\.0)$/;
const METADATA = 'lora_adapter_metadata';

/** A module's two matrices in PyTorch's layout: linear [r, in] and [out, r], convolutions [r, in, h, w] and [out, r, 1, 1]. */
export interface LoraMatrices {
  /** The module's path, which begins with the component's name: `unet.`, `text_encoder.`. */
  readonly path: string;
  readonly a: TensorData;
  readonly b: TensorData;
}

/** A module's matrices as a file has them, with what they are multiplied with. */
export interface ScaledLoraMatrices extends LoraMatrices {
  readonly rank: number;
  readonly alpha: number;
  /** alpha / rank, or alpha / sqrt(rank) with rslora. */
  readonly scale: number;
}

/** What a rank, an alpha and the rslora switch make of the scale. */
export const loraScale = (rank: number, alpha: number, rslora: boolean): number => alpha / (rslora ? Math.sqrt(rank) : rank);

/** What is written: matrices by module, and one rank, alpha and way of scaling for all. */
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
  const names = path.replace(/^unet\./, '').split('.');
  let from = names.length - 1;
  while (from > 0 && /^\d+$/.test(names[from])) from--;
  // "proj" alone would also match what does not belong to the feed-forward layer.
  return names.slice(names[from] === 'proj' ? Math.max(0, from - 2) : names[from - 1] === 'net' ? from - 1 : from).join('.');
}

/** Refuses an adapter that does not fit: LORA_MISMATCH, with the file's name. */
export const loraMismatch = (where: string, what: string, fix = 'Use an adapter that was trained on this model.'): never =>
  fail('LORA_MISMATCH', 'lora', `${where}: ${what}`, fix);

/** Keys of adapters that are no LoRA, or more than one: what they are called, and how they are known. */
const OTHER_KINDS: readonly (readonly [name: string, key: RegExp])[] = [
  ['DoRA', /dora_scale|lora_magnitude_vector/],
  ['LoHa', /\.hada_[wt]/],
  ['LoKr', /\.lokr_[wt]/],
  ['(IA)3', /\.ia3_l$|\.on_input$/],
  ['OFT', /\.oft_/],
  ['GLoRA', /\.(a1|a2|b1|b2)\.weight$/],
  ['a difference of whole weights', /\.diff(_b)?$/],
];

/** What a key says: the module, as the file names it, and which of its tensors this is. */
interface Key {
  readonly module: string;
  readonly tensor: 'a' | 'b' | 'mid' | 'alpha';
}

const TENSORS: Readonly<Record<string, Key['tensor']>> = { down: 'a', A: 'a', up: 'b', B: 'b', mid: 'mid' };

function keyOf(key: string): Key | null {
  const alpha = /^(.+?)(?:\.lora)?\.alpha$/.exec(key);
  if (alpha) return { module: alpha[1], tensor: 'alpha' };
  const match =
    // kohya: lora_unet_..._to_q.lora_down.weight
    /^(lora_(?:unet|te\d?)_.+)\.lora_(down|up|mid)\.weight$/.exec(key) ??
    // diffusers until 0.19: ...attn1.processor.to_q_lora.down.weight; text encoders ...q_proj.lora_linear_layer.down.weight
    /^(.+?\.processor\.to_(?:q|k|v|out))_lora\.(down|up)\.weight$/.exec(key) ??
    /^(.+?)\.lora(?:_linear_layer)?\.(down|up)\.weight$/.exec(key) ??
    // peft: ....lora_A.weight, with an adapter's name between
    /^(.+?)\.lora_(A|B)(?:\.[\w-]+)?\.weight$/.exec(key);
  return match ? { module: match[1], tensor: TENSORS[match[2]] } : null;
}

/** A module's path in the model from what a file calls it; null where the model has none of that name. */
function pathOf(module: string, paths: ReadonlySet<string>, underscored: ReadonlyMap<string, string>): string | null {
  const kohya = /^lora_(unet|te1?|te2)_(.+)$/.exec(module);
  if (kohya) {
    const component = kohya[1] === 'unet' ? 'unet' : kohya[1] === 'te2' ? 'text_encoder_2' : 'text_encoder';
    return underscored.get(`${component}_${kohya[2].replace(/^text_model_/, '')}`) ?? null;
  }
  let path = module.replace(/^base_model\.model\./, '').replace(/\.processor\.(to_(?:q|k|v|out))$/, '.$1');
  if (!/^(unet|text_encoder(_2)?)\./.test(path)) path = `unet.${path}`;
  path = path.replace(/^(text_encoder(?:_2)?\.)text_model\./, '$1').replace(/\.to_out$/, '.to_out.0');
  return paths.has(path) ? path : null;
}

/** The families whose keys tell them, for adapters that fit none of the model's modules. */
function familyOf(tensors: SafetensorsFile['tensors']): string | null {
  const keys = [...tensors.keys()];
  const some = (pattern: RegExp) => keys.some((key) => pattern.test(key));
  if (some(/double_blocks|single_transformer_blocks/)) return 'Flux';
  if (some(/joint_blocks|(^|\.)transformer\.transformer_blocks/)) return 'Stable Diffusion 3';
  for (const [key, { shape }] of tensors)
    if (/attn2[._](processor\.)?to_[kv](_lora)?\.(lora[._])?(lora_)?(down|A)/.test(key)) {
      const width = shape[1];
      return { 768: 'Stable Diffusion 1', 1024: 'Stable Diffusion 2', 2048: 'SDXL' }[width] ?? null;
    }
  if (some(/^lora_te[12]_|input_blocks_/)) return 'SDXL';
  return null;
}

/** The configuration of each component that diffusers writes beside the adapter; empty where there is none. */
function adapterConfig(metadata: SafetensorsFile['metadata'], where: string): Record<string, unknown> {
  if (metadata[METADATA] === undefined) return {};
  let config: unknown;
  try {
    config = JSON.parse(metadata[METADATA]);
  } catch (error) {
    return fail('BAD_JSON', 'lora', `${where}: its ${METADATA} is not JSON: ${messageOf(error)}`, 'Save the adapter again.', error);
  }
  if (typeof config !== 'object' || config === null || Array.isArray(config))
    return fail('BAD_JSON', 'lora', `${where}: its ${METADATA} is no JSON object`, 'Save the adapter again.');
  return config as Record<string, unknown>;
}

/** A value of peft's rank_pattern or alpha_pattern: the first whose key is the end of the module's path, or matches it. */
function patterned(pattern: unknown, module: string): number | undefined {
  if (typeof pattern !== 'object' || pattern === null) return undefined;
  for (const [key, value] of Object.entries(pattern)) if (new RegExp(`(?:^|\\.)(?:${key})$`).test(module)) return Number(value);
  return undefined;
}

/** A convolution's down and middle matrices as one: [r', in, h, w] from mid [r', r, h, w] and down [r, in, 1, 1] (LoCon's Tucker form). */
function withMiddle(down: TensorData, mid: TensorData): TensorData {
  const [out, inner, h, w] = mid.shape;
  const size = down.shape[1];
  const data = new Float32Array(out * size * h * w);
  for (let o = 0; o < out; o++)
    for (let i = 0; i < size; i++)
      for (let at = 0; at < h * w; at++) {
        let sum = 0;
        for (let r = 0; r < inner; r++) sum += mid.data[(o * inner + r) * h * w + at] * down.data[r * size + i];
        data[(o * size + i) * h * w + at] = sum;
      }
  return { dtype: 'float32', shape: [out, size, h, w], data };
}

/**
 * Reads adapters for a model with modules of these paths, in any form that is in use: diffusers' of now and before, peft's, kohya's (LoCon's
 * convolutions too), and mixed ones. Each module has its own rank, alpha and scale: from an `.alpha` beside its matrices, else from
 * diffusers' metadata (lora_alpha, alpha_pattern), else the scale is 1, as upstream. DoRA, LoHa, LoKr and what belongs to no module of the model are
 * refused by name. `where` names the file in errors.
 */
export function readLoraFile(bytes: Uint8Array, modules: Iterable<string>, where = LORA_FILE): ScaledLoraMatrices[] {
  const { tensors, metadata } = readSafetensors(bytes, where);
  for (const [name, pattern] of OTHER_KINDS)
    for (const key of tensors.keys())
      if (pattern.test(key))
        loraMismatch(where, `${key} belongs to ${name}, which is not supported`, 'Use a LoRA, or merge it with the program that made it.');
  const paths = new Set(modules);
  const underscored = new Map([...paths].map((path) => [path.replaceAll('.', '_'), path]));
  const found = new Map<string, Partial<Record<Key['tensor'], TensorData>>>();
  const [foreign, missing] = [[] as string[], new Set<string>()];
  for (const [key, value] of tensors) {
    const known = keyOf(key);
    const path = known && pathOf(known.module, paths, underscored);
    if (!known) foreign.push(key);
    else if (!path) missing.add(known.module);
    else found.set(path, { ...found.get(path), [known.tensor]: value });
  }
  const some = (names: readonly string[]) => `${names.slice(0, 4).join(', ')}${names.length > 4 ? `, ... (${names.length})` : ''}`;
  if (foreign.length > 0) loraMismatch(where, `these keys belong to no adapter: ${some(foreign)}`);
  if (missing.size > 0) {
    const family = familyOf(tensors);
    loraMismatch(where, `the model has no module ${some([...missing])}${family ? `: the adapter is one of ${family}` : ''}`);
  }
  if (found.size === 0) loraMismatch(where, 'it holds no adapter');
  const config = adapterConfig(metadata, where);
  return [...found].map(([path, { a: down, b, mid, alpha: given }]): ScaledLoraMatrices => {
    if (!down || !b) return loraMismatch(where, `${path} has only one of its two matrices`);
    if (mid && (mid.shape.length !== 4 || mid.shape[1] !== down.shape[0]))
      return loraMismatch(where, `${path} has a middle matrix of [${mid.shape}] for [${down.shape}]`);
    const a = mid ? withMiddle(down, mid) : down;
    const rank = a.shape[0];
    const component = path.slice(0, path.indexOf('.'));
    const option = (name: string) => config[`${component}.${name}`];
    const alpha =
      given?.data[0] ??
      patterned(option('alpha_pattern'), path.slice(component.length + 1)) ??
      (option('lora_alpha') as number | undefined) ??
      rank;
    if (!Number.isFinite(Number(alpha))) return loraMismatch(where, `${path} has the alpha ${alpha}`, 'Save the adapter again.');
    return { path, a, b, rank, alpha: Number(alpha), scale: loraScale(rank, Number(alpha), option('use_rslora') === true) };
  });
}
