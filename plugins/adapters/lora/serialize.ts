import * as tf from '@tensorflow/tfjs';
import { fail, type Model, type ModuleFacts, type Tensor, type TensorData, type Tensors, toHost } from '../../../core/index.js';
import { LORA_FILE, type LoraMatrices, loraMismatch, readLoraFile, writeLoraFile } from '../../persist/formats/lora-file.js';
import { fileShape, fromFile, type Layout, shapeOfFile, toFile } from '../../persist/formats/pytorch-layout.js';
import { loraModules } from './modules.js';

const layoutOf = ({ kind }: ModuleFacts): Layout => (kind === 'linear' ? 'linear' : 'conv');

/** A model's adapters as the bytes of a file of diffusers' layout. LORA_EMPTY where it has none. */
export async function writeLora(
  model: Model,
  weights: Tensors,
  { alpha, rank, rslora = false }: { alpha: number; rank: number; rslora?: boolean },
): Promise<Uint8Array> {
  const adapted = loraModules(model, weights);
  if (adapted.length === 0) fail('LORA_EMPTY', 'lora', 'the model has no adapters to write', 'Add lora() to the run.');
  const modules: LoraMatrices[] = [];
  for (const { path, facts, a, b } of adapted) {
    const layout = layoutOf(facts);
    modules.push({ path, a: await toPyTorch(a, layout), b: await toPyTorch(b, layout) });
  }
  return writeLoraFile({ modules, rank, alpha, rslora });
}

async function toPyTorch(tensor: Tensor, layout: Layout): Promise<TensorData> {
  const { data } = await toHost(tensor);
  const laid = { shape: tensor.shape, layout };
  return { dtype: 'float32', shape: fileShape(laid), data: toFile(data as Float32Array, laid) };
}

/** A module's adapter from a file, as tensors, which the caller owns, with the scale it is used at. */
export interface LoadedAdapter {
  readonly path: string;
  readonly a: Tensor;
  readonly b: Tensor;
  readonly rank: number;
  readonly alpha: number;
  readonly scale: number;
}

/** Reads a file's adapters for a model, whose modules and shapes they must fit (LORA_MISMATCH). `where` names the file in errors. */
export function readLora(bytes: Uint8Array, model: Model, where = LORA_FILE): LoadedAdapter[] {
  const fitting = readLoraFile(bytes, model.modules.keys(), where).map(({ path, a, b, ...scaling }) => {
    const facts = model.modules.get(path) as ModuleFacts;
    const rank = a.shape[0];
    const [size, out] = facts.shape.slice(-2);
    const wantA = facts.kind === 'linear' ? [rank, size] : [rank, size, facts.shape[0], facts.shape[1]];
    const wantB = facts.kind === 'linear' ? [out, rank] : [out, rank, 1, 1];
    if (String(a.shape) !== String(wantA) || String(b.shape) !== String(wantB))
      loraMismatch(where, `${path} has shapes [${a.shape}] and [${b.shape}], expected [${wantA}] and [${wantB}]`);
    return { path, layout: layoutOf(facts), a, b, ...scaling };
  });
  return fitting.map(({ layout, a, b, ...rest }) => ({ ...rest, a: fromPyTorch(a, layout), b: fromPyTorch(b, layout) }));
}

function fromPyTorch(file: TensorData, layout: Layout): Tensor {
  const shape = shapeOfFile({ shape: file.shape, layout });
  return tf.tensor(fromFile(file.data as Float32Array, { shape, layout }), shape, 'float32');
}
