import type { TensorInfo } from '@tensorflow/tfjs';
import type { ConvInfo } from '../compute/kernels.js';
import type { WebGPUDevice } from './device.js';
import { product } from './matrix.js';

/** Reads x at an output pixel and a place in the filter; 0 in the padding. */
const gatherX = (c: ConvInfo): string => `fn gatherX(pixel: u32, tap: u32) -> f32 {
  let ow = pixel % ${c.outWidth}u; let oh = (pixel / ${c.outWidth}u) % ${c.outHeight}u; let n = pixel / ${c.outWidth * c.outHeight}u;
  let channel = tap % ${c.inChannels}u; let kw = (tap / ${c.inChannels}u) % ${c.filterWidth}u; let kh = tap / ${c.inChannels * c.filterWidth}u;
  let y = i32(oh * ${c.strideHeight}u + kh) - ${c.padInfo.top}; let x = i32(ow * ${c.strideWidth}u + kw) - ${c.padInfo.left};
  if (y < 0 || y >= ${c.inHeight} || x < 0 || x >= ${c.inWidth}) { return 0f; }
  return image[((n * ${c.inHeight}u + u32(y)) * ${c.inWidth}u + u32(x)) * ${c.inChannels}u + channel];
}`;

/** x [n, h, w, c] and filters [kh, kw, c, o]; NHWC, without dilation. */
export function conv2d(device: WebGPUDevice, x: TensorInfo, w: TensorInfo, c: ConvInfo, bias?: TensorInfo): TensorInfo {
  return product(
    device,
    {
      name: `conv2d ${c.strideHeight} ${c.strideWidth} ${c.padInfo.top} ${c.padInfo.left}`,
      m: c.batchSize * c.outHeight * c.outWidth,
      n: c.outChannels,
      k: c.filterHeight * c.filterWidth * c.inChannels,
      a: 'gatherX(row, inner)',
      b: `filters[inner * ${c.outChannels}u + column]`,
      ...(bias ? { bias: 'bias[column]' } : {}),
      functions: gatherX(c),
      read: bias ? ['image', 'filters', 'bias'] : ['image', 'filters'],
    },
    bias ? [x, w, bias] : [x, w],
    [c.batchSize, c.outHeight, c.outWidth, c.outChannels],
  );
}

export function conv2dInputGradient(device: WebGPUDevice, dy: TensorInfo, w: TensorInfo, c: ConvInfo): TensorInfo {
  return product(
    device,
    {
      name: `conv2dInputGradient ${c.strideHeight} ${c.strideWidth} ${c.padInfo.top} ${c.padInfo.left}`,
      m: c.batchSize * c.inHeight * c.inWidth,
      n: c.inChannels,
      k: c.filterHeight * c.filterWidth * c.outChannels,
      a: 'gatherDy(row, inner)',
      b: `filters[((inner / ${c.outChannels}u) * ${c.inChannels}u + column) * ${c.outChannels}u + inner % ${c.outChannels}u]`,
      functions: `fn gatherDy(pixel: u32, tap: u32) -> f32 {
  let iw = pixel % ${c.inWidth}u; let ih = (pixel / ${c.inWidth}u) % ${c.inHeight}u; let n = pixel / ${c.inWidth * c.inHeight}u;
  let channel = tap % ${c.outChannels}u; let kw = (tap / ${c.outChannels}u) % ${c.filterWidth}u; let kh = tap / ${c.outChannels * c.filterWidth}u;
  let y = i32(ih) + ${c.padInfo.top} - i32(kh); let x = i32(iw) + ${c.padInfo.left} - i32(kw);
  if (y < 0 || x < 0 || y % ${c.strideHeight} != 0 || x % ${c.strideWidth} != 0) { return 0f; }
  let oh = u32(y) / ${c.strideHeight}u; let ow = u32(x) / ${c.strideWidth}u;
  if (oh >= ${c.outHeight}u || ow >= ${c.outWidth}u) { return 0f; }
  return dy[((n * ${c.outHeight}u + oh) * ${c.outWidth}u + ow) * ${c.outChannels}u + channel];
}`,
      read: ['dy', 'filters'],
    },
    [dy, w],
    [c.batchSize, c.inHeight, c.inWidth, c.inChannels],
  );
}

export function conv2dFilterGradient(device: WebGPUDevice, x: TensorInfo, dy: TensorInfo, c: ConvInfo): TensorInfo {
  return product(
    device,
    {
      name: `conv2dFilterGradient ${c.strideHeight} ${c.strideWidth} ${c.padInfo.top} ${c.padInfo.left}`,
      m: c.filterHeight * c.filterWidth * c.inChannels,
      n: c.outChannels,
      k: c.batchSize * c.outHeight * c.outWidth,
      a: 'gatherX(inner, row)',
      b: `dy[inner * ${c.outChannels}u + column]`,
      functions: gatherX(c),
      read: ['image', 'dy'],
    },
    [x, dy],
    [c.filterHeight, c.filterWidth, c.inChannels, c.outChannels],
  );
}
