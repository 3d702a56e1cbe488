import { fail, type Model, type ModuleFacts, type Tensor, type TensorData, type Tensors, toHost } from '../../../core/index.js';
import * as tf from '../../../core/tf.js';
import { writeLoraFile } from '../../persist/formats/lora/diffusers.js';
import { type LoraScaling, type ScaledLoraMatrices, scalingOf } from '../../persist/formats/lora/matrices.js';
import { LORA_FILE, type ReadLoraOptions, readLoraFile } from '../../persist/formats/lora-file.js';
import { fromFile, type Layout, shapeOfFile, toPyTorch } from '../../persist/formats/pytorch-layout.js';
import { loraModules } from './modules.js';

const layoutOf = ({ kind }: ModuleFacts): Layout => (kind === 'linear' ? 'linear' : 'conv');

/** A model's adapters as files hold them. LORA_EMPTY where it has none. */
export async function loraMatrices(model: Model, weights: Tensors, scaling: LoraScaling): Promise<ScaledLoraMatrices[]> {
  const adapted = loraModules(model, weights);
  if (adapted.length === 0) fail('LORA_EMPTY', 'lora', 'the model has no adapters to write', 'Add lora() to the run.');
  const modules: ScaledLoraMatrices[] = [];
  for (const { path, a, b, magnitude } of adapted)
    modules.push({
      path,
      a: toPyTorch(await toHost(a)),
      b: toPyTorch(await toHost(b)),
      ...(magnitude ? { magnitude: await toHost(magnitude) } : {}),
      ...scalingOf(path, scaling),
    });
  return modules;
}

/** A model's adapters as the bytes of a file of diffusers' layout. LORA_EMPTY where it has none. */
export const writeLora = async (model: Model, weights: Tensors, scaling: LoraScaling): Promise<Uint8Array> =>
  writeLoraFile(await loraMatrices(model, weights, scaling));

/** A module's adapter from a file, as tensors, which the caller owns, with the scale it is used at. */
export interface LoadedAdapter extends Omit<ScaledLoraMatrices, 'a' | 'b' | 'magnitude'> {
  readonly a: Tensor;
  readonly b: Tensor;
  readonly magnitude?: Tensor;
}

/** Adapters as tensors in the layout of a model, whose modules they fit. */
export const toTensors = (modules: readonly ScaledLoraMatrices[], model: Model): LoadedAdapter[] =>
  modules.map(({ a, b, magnitude, ...module }) => {
    const layout = layoutOf(model.modules.get(module.path) as ModuleFacts);
    const lengths = magnitude ? { magnitude: tf.tensor1d(magnitude.data as Float32Array) } : {};
    return { ...module, a: fromPyTorch(a, layout), b: fromPyTorch(b, layout), ...lengths };
  });

/** Reads a file's adapters for a model, whose modules and shapes they must fit (LORA_MISMATCH). `where` names the file in errors. */
export const readLora = (bytes: Uint8Array, model: Model, where = LORA_FILE, options: ReadLoraOptions = {}): LoadedAdapter[] =>
  toTensors(readLoraFile(bytes, model.modules, where, options), model);

function fromPyTorch(file: TensorData, layout: Layout): Tensor {
  const shape = shapeOfFile({ shape: file.shape, layout });
  return tf.tensor(fromFile(file.data as Float32Array, { shape, layout }), shape, 'float32');
}
