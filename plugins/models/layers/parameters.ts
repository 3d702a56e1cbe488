import { fail, type Hash, type Parameter, type Random } from '../../../core/index.js';
import * as tf from '../../../core/tf.js';
import { operation } from '../../devices/compute/contract.js';
import { fileShape, fromFile } from '../../persist/formats/pytorch-layout.js';
import type { StoredTensor, StoredTensors } from '../../persist/formats/stored-tensors.js';
import type { WeightSpec } from './builder.js';

export interface MakeParametersOptions {
  readonly trainable: boolean | ((path: string) => boolean);
  readonly group: string;
  readonly random: Random;
  /** Of a file, by the specs' paths; a new model has none. */
  readonly tensors?: StoredTensors;
  /** Whether matrices that are not trained are stored in half precision, on a device that has it. */
  readonly half?: boolean;
  /** Takes in each tensor as it was read, in the order of `tensors`. */
  readonly hash?: Hash;
}

/**
 * Makes a model's variables: from a file's tensors, once {@link requireFit} has found them to fit, or, without any, freshly from the seed. One tensor
 * after another is read, so that the host holds no more of the file than one of them.
 */
export async function makeParameters(specs: readonly WeightSpec[], options: MakeParametersOptions): Promise<Map<string, Parameter>> {
  const { group, random, tensors } = options;
  const isTrained = (path: string) => (typeof options.trainable === 'function' ? options.trainable(path) : options.trainable);
  const upload = operation('upload');
  const precision = options.half ? operation('precision') : undefined;
  if (tensors) requireFit(specs, tensors);
  // In the order of the specs, whatever the file's order, in which they are read.
  const variables = new Map<string, tf.Variable | null>(specs.map(({ path }) => [path, null]));
  const byPath = new Map(specs.map((spec) => [spec.path, spec]));
  try {
    for (const path of (tensors ?? variables).keys()) {
      const spec = byPath.get(path) as WeightSpec;
      const stored = tensors?.get(path);
      const data = stored
        ? fromFile(await numbersOf(path, stored, options.hash), spec)
        : spec.start(random.named(`start:${path}`), new Float32Array(spec.shape.reduce((a, b) => a * b, 1)));
      // Norms and biases are small, and added to float32 sums; rows of tables are looked up by TensorFlow.js.
      const half = precision?.fits(spec.shape) && spec.layout !== 'plain' && !isTrained(path) ? precision : undefined;
      if (half) requireInRange(path, data);
      const read = tf.tensor(data, spec.shape as number[], 'float32');
      const value = half ? await half.store(read) : read;
      // Variables are anonymous: a second one of a name would throw, and paths are the only names here.
      const variable = tf.variable(value as tf.Tensor<tf.Rank>, isTrained(path));
      value.dispose();
      variables.set(path, variable);
      await upload?.(variable);
    }
  } catch (error) {
    for (const variable of variables.values()) variable?.dispose();
    throw error;
  }
  return new Map(
    [...variables].map(([path, variable]) => [path, { variable: variable as tf.Variable, trainable: isTrained(path), group }]),
  );
}

/** The largest number of float16. */
const MOST = 65_504;

/** OPTION_INVALID where half precision would make infinities of a weight's numbers. */
function requireInRange(path: string, data: Float32Array): void {
  const beyond = data.find((x) => Math.abs(x) > MOST && Number.isFinite(x));
  if (beyond !== undefined)
    fail(
      'OPTION_INVALID',
      'model',
      `mixed_precision is fp16, and ${path} holds ${beyond}, where float16 ends at ${MOST}`,
      'Leave mixed_precision out for this model.',
    );
}

async function numbersOf(path: string, stored: StoredTensor, hash?: Hash): Promise<Float32Array> {
  const { dtype, data } = await stored.read();
  if (dtype !== 'float32')
    fail('WEIGHTS_MISMATCH', 'model', `${stored.where}: ${path} holds ${dtype}, not floating-point numbers`, 'Save the model again.');
  hash?.add(data);
  return data as Float32Array;
}

/** WEIGHTS_MISMATCH where tensors are missing, unexpected or of another shape than the specs say: each is named, with the file it stands in. */
export function requireFit(specs: readonly WeightSpec[], tensors: StoredTensors): void {
  const files = [...new Set([...tensors.values()].map(({ where }) => where))];
  const inFile = ({ where }: StoredTensor) => (files.length > 1 ? ` (${where})` : '');
  const wrong: string[] = [];
  for (const spec of specs) {
    const found = tensors.get(spec.path);
    if (!found) wrong.push(`${spec.path} is missing`);
    else if (String(found.shape) !== String(fileShape(spec)))
      wrong.push(`${spec.path} is [${found.shape}], expected [${fileShape(spec)}]${inFile(found)}`);
  }
  const known = new Set(specs.map(({ path }) => path));
  for (const [name, found] of tensors) if (!known.has(name)) wrong.push(`${name} is unexpected${inFile(found)}`);
  if (wrong.length > 0)
    fail(
      'WEIGHTS_MISMATCH',
      'model',
      `${files.join(', ') || 'a file without weights'} does not fit its config.json: ${wrong.slice(0, 6).join('; ')}${wrong.length > 6 ? `; and ${wrong.length - 6} more` : ''}`,
      'Use the config.json and weights of one model.',
    );
}
