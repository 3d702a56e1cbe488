import type { TensorInfo } from '@tensorflow/tfjs';
import * as tf from '@tensorflow/tfjs';
import type { ConvInfo } from '../compute/kernels.js';
import type { WasmDevice } from './device.js';
import { matMul, NARROW, transposed } from './matrix.js';

/** dx as a convolution of dy (spread out by the stride) with the filter turned round and its channels exchanged. */
export function conv2dInputGradient(device: WasmDevice, dy: TensorInfo, filter: TensorInfo, c: ConvInfo): TensorInfo {
  const [kh, kw, ci, co] = filter.shape;
  const turned = device.newTensor([kh, kw, co, ci]);
  const [spreadH, spreadW] = [(c.outHeight - 1) * c.strideHeight + 1, (c.outWidth - 1) * c.strideWidth + 1];
  const strided = c.strideHeight > 1 || c.strideWidth > 1;
  const spread = strided ? device.newTensor([c.batchSize, spreadH, spreadW, co]) : dy;
  const memory = device.floats();
  const [from, to] = [device.startOf(filter), device.startOf(turned)];
  for (let tap = 0; tap < kh * kw; tap++) {
    const source = from + tap * ci * co;
    const target = to + (kh * kw - 1 - tap) * ci * co;
    for (let i = 0; i < ci; i++) for (let o = 0; o < co; o++) memory[target + o * ci + i] = memory[source + i * co + o];
  }
  if (strided) {
    const [source, target] = [device.startOf(dy), device.startOf(spread)];
    memory.fill(0, target, target + tf.util.sizeFromShape(spread.shape));
    let at = source;
    for (let n = 0; n < c.batchSize; n++)
      for (let y = 0; y < c.outHeight; y++)
        for (let x = 0; x < c.outWidth; x++, at += co)
          memory.copyWithin(target + ((n * spreadH + y * c.strideHeight) * spreadW + x * c.strideWidth) * co, at, at + co);
  }
  const [top, left] = [kh - 1 - c.padInfo.top, kw - 1 - c.padInfo.left];
  const [bottom, right] = [c.inHeight - spreadH - top + kh - 1, c.inWidth - spreadW - left + kw - 1];
  const out = device.run(
    'Conv2D',
    { x: spread, filter: turned },
    {
      strides: 1,
      pad: [
        [0, 0],
        [top, bottom],
        [left, right],
        [0, 0],
      ],
      dataFormat: 'NHWC',
      dilations: 1,
    },
  );
  device.free(turned);
  if (strided) device.free(spread);
  return out;
}

/** The most numbers of gathered pixels that are laid out at once. */
const GATHERED = 1 << 23;

/** dw as dy transposed times the pixels under each place of the filter, gathered row by row. */
export function conv2dFilterGradient(device: WasmDevice, x: TensorInfo, dy: TensorInfo, c: ConvInfo): TensorInfo {
  if (c.outChannels <= NARROW) {
    const out = device.newTensor([c.filterHeight, c.filterWidth, c.inChannels, c.outChannels]);
    device.module.filterGradient(
      device.address(x),
      device.address(dy),
      device.address(out),
      c.batchSize,
      c.inHeight,
      c.inWidth,
      c.inChannels,
      c.outHeight,
      c.outWidth,
      c.outChannels,
      c.filterHeight,
      c.filterWidth,
      c.strideHeight,
      c.strideWidth,
      c.padInfo.top,
      c.padInfo.left,
    );
    return out;
  }
  const taps = c.filterHeight * c.filterWidth * c.inChannels;
  const area = c.outHeight * c.outWidth;
  const perChunk = Math.max(1, Math.min(c.batchSize, Math.floor(GATHERED / (area * taps))));
  let sum: TensorInfo | null = null;
  for (let n = 0; n < c.batchSize; n += perChunk) {
    const count = Math.min(perChunk, c.batchSize - n);
    const pixels = device.newTensor([count * area, taps]);
    const gradients = device.newTensor([count * area, c.outChannels]);
    const memory = device.floats();
    const start = device.startOf(dy) + n * area * c.outChannels;
    memory.copyWithin(device.startOf(gradients), start, start + count * area * c.outChannels);
    gather(memory, device.startOf(x) + n * c.inHeight * c.inWidth * c.inChannels, device.startOf(pixels), count, c);
    const part = matMul(device, gradients, pixels, true, false);
    device.free(pixels, gradients);
    if (sum) {
      const [into, from] = [device.startOf(sum), device.startOf(part)];
      const memory = device.floats();
      for (let i = 0; i < taps * c.outChannels; i++) memory[into + i] += memory[from + i];
      device.free(part);
    } else sum = part;
  }
  const turned = transposed(device, sum as TensorInfo);
  device.free(sum as TensorInfo);
  return { ...turned, shape: [c.filterHeight, c.filterWidth, c.inChannels, c.outChannels] };
}

/** Writes, per output pixel, the filter-sized patch of the image below it; zeros in the padding. */
function gather(memory: Float32Array, image: number, out: number, count: number, c: ConvInfo): void {
  const { inChannels: ci, filterHeight: kh, filterWidth: kw } = c;
  const rowSize = kw * ci;
  let at = out;
  for (let n = 0; n < count; n++)
    for (let oy = 0; oy < c.outHeight; oy++)
      for (let ox = 0; ox < c.outWidth; ox++) {
        const left = ox * c.strideWidth - c.padInfo.left;
        const [skip, end] = [Math.max(0, -left), Math.min(kw, c.inWidth - left)];
        for (let ky = 0; ky < kh; ky++, at += rowSize) {
          const y = oy * c.strideHeight - c.padInfo.top + ky;
          if (y < 0 || y >= c.inHeight) {
            memory.fill(0, at, at + rowSize);
            continue;
          }
          if (skip > 0) memory.fill(0, at, at + skip * ci);
          if (end < kw) memory.fill(0, at + end * ci, at + rowSize);
          const source = image + ((n * c.inHeight + y) * c.inWidth + left + skip) * ci;
          memory.copyWithin(at + skip * ci, source, source + (end - skip) * ci);
        }
      }
}
