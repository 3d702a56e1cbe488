import { afterEach, expect, test } from 'vitest';
import { Hash, hashOf, seededRandom, type TensorData } from '../../../../core/index.js';
import { type WeightSpec, zeros } from '../../../../plugins/models/layers/builder.js';
import { makeParameters } from '../../../../plugins/models/layers/parameters.js';
import type { StoredTensor } from '../../../../plugins/persist/formats/stored-tensors.js';
import { tf } from '../../../support/devices.js';

afterEach(() => tf.disposeVariables());

const specs: WeightSpec[] = [
  { path: 'a.weight', shape: [2, 3], layout: 'linear', start: zeros },
  { path: 'a.bias', shape: [3], layout: 'plain', start: zeros },
];
const weight: TensorData = { dtype: 'float32', shape: [3, 2], data: Float32Array.of(1, 2, 3, 4, 5, 6) };
const bias: TensorData = { dtype: 'float32', shape: [3], data: Float32Array.of(7, 8, 9) };
const options = { trainable: true, group: 'a', random: seededRandom(0) };

/** Tensors that say when they are read; each in a file of its own. */
function watched(tensors: Record<string, TensorData>) {
  const read: string[] = [];
  let now = 0;
  const stored = new Map<string, StoredTensor>(
    Object.entries(tensors).map(([name, tensor]) => [
      name,
      {
        shape: tensor.shape,
        where: `${name}.safetensors`,
        async read() {
          expect(++now).toBe(1);
          await new Promise((resolve) => setTimeout(resolve));
          now--;
          read.push(name);
          return tensor;
        },
      },
    ]),
  );
  return { read, stored };
}

test('tensors are read one after another, in the order of the file, and hashed as they stand there', async () => {
  const { read, stored } = watched({ 'a.bias': bias, 'a.weight': weight });
  const hash = new Hash();
  const parameters = await makeParameters(specs, { ...options, tensors: stored, hash });
  expect(read).toEqual(['a.bias', 'a.weight']);
  expect([...parameters.keys()]).toEqual(['a.weight', 'a.bias']);
  expect([...(parameters.get('a.weight')?.variable.dataSync() ?? [])]).toEqual([1, 3, 5, 2, 4, 6]);
  expect(hash.digest()).toBe(hashOf(bias.data, weight.data));
});

test('what does not fit is named with its file, before anything is read', async () => {
  const { read, stored } = watched({ 'a.bias': weight, 'b.bias': bias });
  await expect(makeParameters(specs, { ...options, tensors: stored })).rejects.toThrow(
    /WEIGHTS_MISMATCH.*a\.weight is missing; a\.bias is \[3,2\], expected \[3\] \(a\.bias\.safetensors\); b\.bias is unexpected \(b\.bias\.safetensors\)/,
  );
  expect(read).toEqual([]);
});

test('where reading fails on the way, nothing stays', async () => {
  const before = tf.memory().numTensors;
  const codes: TensorData = { dtype: 'uint8', shape: [3], data: Uint8Array.of(1, 2, 3) };
  const { stored } = watched({ 'a.weight': weight, 'a.bias': codes });
  await expect(makeParameters(specs, { ...options, tensors: stored })).rejects.toThrow(
    /WEIGHTS_MISMATCH.*a\.bias\.safetensors: a\.bias holds uint8/,
  );
  expect(tf.memory().numTensors).toBe(before);
});
