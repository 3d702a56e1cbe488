import { abridged, type ModuleFacts, type TensorData } from '../../../core/index.js';
import { type AdapterConfig, configOfPeft, configsOf } from './lora/config.js';
import { FAMILY_NAMES, familyOfAdapter, familyOfMetadata, familyOfModel } from './lora/family.js';
import { otherKind, type Part, parseKey } from './lora/keys.js';
import { type LoraMatrices, loraScale, type ScaledLoraMatrices } from './lora/matrices.js';
import { loraMismatch } from './lora/mismatch.js';
import { moduleNames, splitPath } from './lora/names.js';
import { readSafetensors, type SafetensorsFile } from './safetensors.js';

/** The file name diffusers looks for. */
export const LORA_FILE = 'pytorch_lora_weights.safetensors';

/** The file names of peft's own adapters, and of the configuration beside them, without which they have no scale. */
export const PEFT_FILES = { weights: 'adapter_model.safetensors', config: 'adapter_config.json' } as const;

/** What a file is read with, beside the model's modules. */
export interface ReadLoraOptions {
  /** The text of peft's adapter_config.json, of files that peft has written. */
  readonly peftConfig?: string | null;
}

type Parts = Partial<Record<Part, TensorData>>;

/** A file of adapters that no model's modules were looked at for yet. */
export interface LoraFile {
  /** What the file says of itself. */
  readonly metadata: Readonly<Record<string, string>>;
  /** The family of models it was made for, as people call it; null where nothing tells it. */
  readonly family: string | null;
  /** Its matrices, for a model with these modules, which they must fit (LORA_MISMATCH). */
  read(modules: ReadonlyMap<string, ModuleFacts>): ScaledLoraMatrices[];
}

/**
 * Opens a file of adapters in any form that is in use: diffusers' of now and before, peft's, kohya's (LoCon's convolutions too), and mixed
 * ones. Each module has its own rank, alpha and scale: from an `.alpha` beside its matrices, else from the configuration of its component
 * (lora_alpha, alpha_pattern, use_rslora), else the scale is 1, as upstream. With DoRA each has magnitudes, in peft's form or LyCORIS's. LoHa and LoKr are refused by name at once; adapters of
 * another family, and whatever belongs to no module of a model or does not fit it, when they are read for it (LORA_MISMATCH). `where` names
 * the file in errors.
 */
export function openLoraFile(bytes: Uint8Array, where = LORA_FILE, { peftConfig }: ReadLoraOptions = {}): LoraFile {
  const file = readSafetensors(bytes, where);
  for (const key of file.tensors.keys()) {
    const other = otherKind(key);
    if (other)
      loraMismatch(where, `${key} belongs to ${other}, which is not supported`, 'Use a LoRA, or merge it with the program that made it.');
  }
  const family = familyOfAdapter(file);
  return { metadata: file.metadata, family, read: (modules) => fitFile(file, family, modules, where, peftConfig) };
}

/** Reads a file's adapters for a model with these modules: see {@link openLoraFile}. */
export const readLoraFile = (
  bytes: Uint8Array,
  modules: ReadonlyMap<string, ModuleFacts>,
  where?: string,
  options?: ReadLoraOptions,
): ScaledLoraMatrices[] => openLoraFile(bytes, where, options).read(modules);

function fitFile(
  { tensors, metadata }: SafetensorsFile,
  family: string | null,
  modules: ReadonlyMap<string, ModuleFacts>,
  where: string,
  peftConfig: string | null | undefined,
): ScaledLoraMatrices[] {
  const model = familyOfModel(modules);
  const [modelName, noted] = [model && FAMILY_NAMES[model], familyOfMetadata(metadata)];
  const theirs =
    family && family !== modelName ? `: the adapter is one of ${family}${modelName ? `, the model is built like ${modelName}` : ''}` : '';
  const found = collect(tensors, modules, where, theirs);
  // Some of a family's modules fit another's model: the adapter would do something, but not what it was trained for.
  if (noted && modelName && noted !== modelName && Object.values(FAMILY_NAMES).includes(noted))
    loraMismatch(where, `its metadata do not fit the model${theirs}`);
  const configs = configsOf(metadata, where);
  const peft = peftConfig ? configOfPeft(peftConfig, `${where}: the adapter_config.json beside it`) : undefined;
  return [...found].map(([path, values]) => {
    const { component, rest } = splitPath(path);
    const matrices = fitLora(path, values, modules.get(path), where, theirs);
    const config = configs.get(component) ?? peft;
    if (config?.dora && !matrices.magnitude)
      loraMismatch(where, `it says use_dora, and ${path} has no magnitudes`, 'Save the adapter again.');
    const { alpha, rslora } = scaling(path, rest, values.alpha, config, matrices.rank, where);
    return { ...matrices, alpha, rslora, scale: loraScale(matrices.rank, alpha, rslora) };
  });
}

/** The tensors of each module, by its path in the model. */
function collect(
  tensors: ReadonlyMap<string, TensorData>,
  modules: ReadonlyMap<string, ModuleFacts>,
  where: string,
  theirs: string,
): Map<string, Parts> {
  const names = moduleNames(modules.keys());
  const found = new Map<string, Parts>();
  const [foreign, missing] = [[] as string[], new Set<string>()];
  for (const [key, value] of tensors) {
    const known = parseKey(key);
    const path = known && names.get(known.module);
    if (!known) foreign.push(key);
    else if (!path) missing.add(known.module);
    else {
      const values = found.get(path) ?? {};
      if (values[known.part]) loraMismatch(where, `${key} is there a second time, under another name`, 'Leave one of the two out.');
      found.set(path, { ...values, [known.part]: value });
    }
  }
  if (foreign.length > 0) loraMismatch(where, `these keys belong to no adapter: ${abridged(foreign, 4)}${theirs}`);
  if (missing.size > 0) loraMismatch(where, `the model has no module ${abridged([...missing], 4)}${theirs}`);
  if (found.size === 0) loraMismatch(where, 'it holds no adapter');
  return found;
}

/**
 * A module's two matrices in the shapes that it asks for, or LORA_MISMATCH. Some files leave out the last axes of 1 x 1 convolutions, or add
 * them to matrices.
 */
export function fitLora(
  path: string,
  { a, b, mid, magnitude, doraScale }: Parts,
  facts: ModuleFacts | undefined,
  where: string,
  theirs = '',
): LoraMatrices & { readonly rank: number } {
  if (!facts) return loraMismatch(where, `the model has no module ${path}${theirs}`);
  if (!a || !b) return loraMismatch(where, `${path} has only one of its two matrices`, 'Save the adapter again.');
  const lengths = magnitude ?? doraScale;
  for (const { dtype } of [a, b, ...(mid ? [mid] : []), ...(lengths ? [lengths] : [])])
    if (dtype !== 'float32') return loraMismatch(where, `${path} holds ${dtype}, not floating-point numbers`, 'Save the adapter again.');
  const rank = a.shape[0];
  if (mid && String(mid.shape.slice(0, 2)) !== String([rank, rank]))
    return loraMismatch(where, `${path} has a middle matrix of [${mid.shape}], expected [${rank},${rank}] first`);
  const whole = mid ? withMiddle(a, mid) : a;
  const [size, out] = facts.shape.slice(-2);
  const kernel = facts.kind === 'linear' ? [] : facts.shape.slice(0, 2);
  const wanted = { a: [rank, size, ...kernel], b: [out, rank, ...kernel.map(() => 1)] };
  const same = (given: readonly number[], expected: readonly number[]) => trimmed(given) === trimmed(expected);
  if (!same(whole.shape, wanted.a) || !same(b.shape, wanted.b))
    return loraMismatch(where, `${path} has shapes [${whole.shape}] and [${b.shape}], expected [${wanted.a}] and [${wanted.b}]${theirs}`);
  // LyCORIS has scales of inputs as well, which stand in the second axis.
  if (lengths && !(lengths.data.length === out && (lengths === magnitude || lengths.shape[0] === out)))
    return loraMismatch(where, `${path} has magnitudes of shape [${lengths.shape}], expected one for each of ${out} outputs${theirs}`);
  const own = lengths ? { magnitude: { ...lengths, shape: [out] } } : {};
  return { path, a: { ...whole, shape: wanted.a }, b: { ...b, shape: wanted.b }, rank, ...own };
}

/** A shape without what a 1 x 1 convolution has behind its two axes. */
const trimmed = (shape: readonly number[]): string =>
  String(shape.length === 4 && shape[2] === 1 && shape[3] === 1 ? shape.slice(0, 2) : shape);

function scaling(
  path: string,
  rest: string,
  given: TensorData | undefined,
  config: AdapterConfig | undefined,
  rank: number,
  where: string,
): { alpha: number; rslora: boolean } {
  if (given && given.data.length !== 1)
    return loraMismatch(where, `${path} has an alpha of ${given.data.length} numbers`, 'Save the adapter again.');
  const alpha = given?.data[0] ?? config?.alphaOf(rest) ?? rank;
  if (!Number.isFinite(alpha)) return loraMismatch(where, `${path} has the alpha ${alpha}`, 'Save the adapter again.');
  // Files with an alpha for each module are of programs that know no other scale than alpha / rank.
  return { alpha, rslora: given === undefined && config?.rslora === true };
}

/** A convolution's down and middle matrices as one: [r, in, h, w] from mid [r, r, h, w] and down [r, in, 1, 1] (LoCon's Tucker form). */
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
