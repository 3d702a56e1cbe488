import type * as tf from '../../../core/tf.js';
import type { TensorInfo } from '../../../core/tf.js';
import type { WasmDevice } from './device.js';

type PoolInfo = ReturnType<typeof tf.backend_util.computePool2DInfo>;

/**
 * The gradient of max pooling over x [n, h, w, c]: each dy goes to the largest value of its window, the first of equal ones.
 * The backend's kernel is wrong for windows of negative values.
 */
export function maxPoolGradient(device: WasmDevice, dy: TensorInfo, x: TensorInfo, info: PoolInfo): TensorInfo {
  const { batchSize, inHeight, inWidth, inChannels, outHeight, outWidth, strideHeight, strideWidth } = info;
  const { effectiveFilterHeight, effectiveFilterWidth, dilationHeight, dilationWidth, padInfo } = info;
  const out = device.newTensor(x.shape);
  const heap = device.floats();
  const [from, given, to] = [x, dy, out].map((tensor) => device.startOf(tensor));
  heap.fill(0, to, to + batchSize * inHeight * inWidth * inChannels);
  for (let n = 0; n < batchSize; n++)
    for (let oy = 0; oy < outHeight; oy++) {
      const top = oy * strideHeight - padInfo.top;
      for (let ox = 0; ox < outWidth; ox++) {
        const left = ox * strideWidth - padInfo.left;
        const dyAt = given + ((n * outHeight + oy) * outWidth + ox) * inChannels;
        for (let c = 0; c < inChannels; c++) {
          let best = -1;
          let largest = Number.NEGATIVE_INFINITY;
          for (let ky = 0; ky < effectiveFilterHeight; ky += dilationHeight) {
            const y = top + ky;
            if (y < 0 || y >= inHeight) continue;
            let at = ((n * inHeight + y) * inWidth + left) * inChannels + c;
            for (let kx = 0; kx < effectiveFilterWidth; kx += dilationWidth, at += dilationWidth * inChannels) {
              const column = left + kx;
              if (column < 0 || column >= inWidth) continue;
              const value = heap[from + at];
              if (value > largest || best < 0) {
                largest = value;
                best = at;
              }
            }
          }
          heap[to + best] += heap[dyAt + c];
        }
      }
    }
  return out;
}
