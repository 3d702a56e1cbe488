import type { TensorInfo } from '../../../core/tf.js';
import type { Kernel } from '../compute/kernels.js';
import type { WebGPUDevice } from './device.js';
import { isHalf } from './half.js';
import { fitsHalf } from './storage.js';
import { dispatchEach, newLike, vectorsIn } from './vectors.js';

// Joining along the last axis, and taking apart again, of what is stored in half precision: skip connections.

const last = (axis: unknown, { shape }: TensorInfo): boolean => axis === shape.length - 1 || axis === -1;

/** Two tensors, of which one is stored in half precision, next to each other along the last axis; what they make is stored so. */
export const concat =
  (original: Kernel<WebGPUDevice>): Kernel<WebGPUDevice> =>
  (call) => {
    const { inputs, attrs, device } = call;
    const all = Object.values(inputs);
    const [a, b] = all;
    const ours =
      all.length === 2 &&
      last(attrs.axis, a) &&
      all.some((one) => isHalf(device, one)) &&
      all.every((one) => fitsHalf(one.shape) && device.entryOf(one).dtype === 'float32');
    if (!ours) return original(call);
    const [left, right] = all.map(({ shape }) => shape[shape.length - 1] / 4);
    const result = device.newTensor([...a.shape.slice(0, -1), 4 * (left + right)], true);
    dispatchEach(
      device,
      {
        name: 'concat',
        width: 4,
        read: { a, b },
        write: { result },
        sizes: { left, right },
        body: `let row = i / (left + right); let at = i % (left + right);
  if (at < left) { result(i, a(row * left + at)); } else { result(i, b(row * right + at - left)); }`,
      },
      vectorsIn(result, 4),
    );
    return result;
  };

/** One tensor that is stored in half precision taken apart along the last axis. */
export const split =
  (original: Kernel<WebGPUDevice>): Kernel<WebGPUDevice> =>
  (call) => {
    const { inputs, attrs, device } = call;
    const { x } = inputs;
    const sizes = attrs.numOrSizeSplits;
    const ours = isHalf(device, x) && last(attrs.axis, x) && Array.isArray(sizes) && sizes.every((size) => size > 0 && size % 8 === 0);
    if (!ours) return original(call);
    let from = 0;
    return (sizes as number[]).map((size) => {
      const result = newLike(device, x, [...x.shape.slice(0, -1), size]);
      dispatchEach(
        device,
        {
          name: 'split',
          width: 4,
          read: { x },
          write: { result },
          sizes: { whole: x.shape[x.shape.length - 1] / 4, part: size / 4, skipped: from / 4 },
          body: 'result(i, x((i / part) * whole + skipped + i % part));',
        },
        vectorsIn(result, 4),
      );
      from += size;
      return result;
    });
  };
