import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Tensor } from '../../../../core/tf.js';
import * as tf from '../../../../core/tf.js';
import { tryDevice } from '../../../../plugins/devices/choice/candidates.js';
import { attention } from '../../../../plugins/devices/compute/attention.js';
import { deviceOf } from '../../../../plugins/devices/compute/installed.js';
import { override, type Undo } from '../../../../plugins/devices/compute/undo.js';
import type { WebGPUDevice } from '../../../../plugins/devices/webgpu/device.js';
import { relativeGap, use } from '../../../support/devices.js';

const found = await tryDevice('webgpu');
if ('why' in found) console.log(`not tested here: what stands beyond tensors on WebGPU (${found.why})`);

/** Bytes behind every tensor, which are no numbers in float32 and in float16. */
const BEHIND = 4096;
const nothing = new Uint32Array(BEHIND / 4).fill(0x7fff7fff);

/** Has all buffers that are made from now on be followed by what are no numbers. */
function surrounded(device: GPUDevice): Undo {
  const { createBuffer, createBindGroup } = device;
  return override<GPUDevice>(device, {
    createBuffer(descriptor) {
      const { size, usage, mappedAtCreation } = descriptor;
      if (!(usage & GPUBufferUsage.STORAGE) || mappedAtCreation) return createBuffer.call(device, descriptor);
      const buffer = createBuffer.call(device, { ...descriptor, size: size + BEHIND });
      device.queue.writeBuffer(buffer, size, nothing);
      return Object.defineProperty(buffer, 'size', { value: size });
    },
    createBindGroup({ entries, ...rest }) {
      const bounded = [...entries].map(({ binding, resource }) => {
        const { buffer, offset = 0, size = buffer.size - offset } = resource as GPUBufferBinding;
        return { binding, resource: { buffer, offset, size } };
      });
      return createBindGroup.call(device, { ...rest, entries: bounded });
    },
  });
}

const draw = (...shape: number[]): Tensor =>
  tf.tensor(
    Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => Math.sin(7 * i + shape[0])),
    shape,
  );

const cases: [string, () => Tensor][] = [
  [
    'products with an activation',
    () => tf.fused.matMul({ a: draw(65, 33) as tf.Tensor2D, b: draw(33, 17) as tf.Tensor2D, bias: draw(17), activation: 'relu' }),
  ],
  [
    'products with one number added, and prelu',
    () =>
      tf.fused.matMul({
        a: draw(65, 130) as tf.Tensor2D,
        b: draw(130, 24) as tf.Tensor2D,
        bias: draw(1),
        activation: 'prelu',
        preluActivationWeights: draw(24),
      }),
  ],
  [
    'convolutions with an activation',
    () =>
      tf.fused.conv2d({
        x: draw(2, 8, 8, 3) as tf.Tensor4D,
        filter: draw(3, 3, 3, 4) as tf.Tensor4D,
        strides: 1,
        pad: 'same',
        bias: draw(4),
        activation: 'leakyrelu',
        leakyreluAlpha: 0.3,
      }),
  ],
  ['dilated convolutions', () => tf.conv2d(draw(1, 7, 9, 3) as tf.Tensor4D, draw(3, 2, 3, 5) as tf.Tensor4D, 1, 'same', 'NHWC', [2, 3])],
  [
    'sums from the end on, of what is shorter than another before',
    () => tf.addN([draw(2, 9), draw(2, 5)].map((x) => tf.cumsum(x, 1, false, true).slice([0, 0], [2, 5]))),
  ],
  ['attention over heads of 3', () => attention(draw(1, 5, 6), draw(1, 7, 6), draw(1, 7, 6), 2)],
];

let undo: Undo = () => undefined;
beforeAll(async () => {
  if ('why' in found) return;
  await use('webgpu');
  const { backend, buffers } = deviceOf<WebGPUDevice>(tf.backend());
  buffers.trim();
  undo = surrounded(backend.device);
});
afterAll(() => undo());

test.runIf('report' in found).each(cases)('%s take nothing from beyond tensors', async (_, compute) => {
  const values = async () => {
    const before = tf.memory().numTensors;
    const y = tf.tidy(compute);
    const read = await y.data();
    y.dispose();
    expect(tf.memory().numTensors).toBe(before);
    return read;
  };
  await use('cpu');
  const expected = await values();
  await use('webgpu');
  expect(relativeGap(await values(), expected)).toBeLessThan(1e-5);
});
