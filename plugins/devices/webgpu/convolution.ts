import type { TensorInfo } from '@tensorflow/tfjs';
import type { ConvInfo } from '../compute/kernels.js';
import type { WebGPUDevice } from './device.js';
import { INNER, type Product, product } from './matrix.js';

// Convolutions, NHWC and without dilation, as products: a pixel's place in an image and a filter's element are found once for each row and each step.

const sizesOf = (c: ConvInfo) => ({
  inHeight: c.inHeight,
  inWidth: c.inWidth,
  inChannels: c.inChannels,
  outHeight: c.outHeight,
  outWidth: c.outWidth,
  outChannels: c.outChannels,
  filterWidth: c.filterWidth,
  padTop: c.padInfo.top,
  padLeft: c.padInfo.left,
});

/** Names a pixel of images of so many by so many: `n`, `h` and `w`, with something behind. */
const pixel = (at: string, height: string, width: string, end: string | number): string =>
  `let w${end} = ${at} % ${width}; let h${end} = (${at} / ${width}) % ${height}; let n${end} = ${at} / (${width} * ${height});`;

/** Names an element of a filter but for its output: `channel`, `kw` and `kh`, with something behind. */
const element = (at: string, channels: string, end: string | number): string =>
  `let channel${end} = ${at} % ${channels}; let kw${end} = (${at} / ${channels}) % filterWidth; let kh${end} = ${at} / (${channels} * filterWidth);`;

/** The number of an image at a place, or 0 beside it. */
const PIXEL = (image: string): string => `fn pixel(n: u32, y: i32, x: i32, channel: u32, height: u32, width: u32, channels: u32) -> f32 {
  if (y < 0 || y >= i32(height) || x < 0 || x >= i32(width)) { return 0f; }
  return ${image}[((n * height + u32(y)) * width + u32(x)) * channels + channel];
}`;

/** What filter elements along the inner axis are, each with its channel first. Where channels fill whole steps, one place of the filter is that of a step. */
function alongInner(channels: string, count: number): { aligned: boolean } & Pick<Product, 'stepState' | 'innerState'> {
  if (count % INNER > 0) return { aligned: false, innerState: element('inner', channels, '') };
  return {
    aligned: true,
    stepState: element('base', channels, 'OfStep'),
    innerState: 'let channel = channelOfStep + q; let kw = kwOfStep; let kh = khOfStep;',
  };
}

/** x [n, h, w, c] and filters [kh, kw, c, o]. */
export function conv2d(device: WebGPUDevice, x: TensorInfo, w: TensorInfo, c: ConvInfo, bias?: TensorInfo): TensorInfo {
  const { aligned, ...inner } = alongInner('inChannels', c.inChannels);
  return product(
    device,
    {
      name: `conv2d ${c.strideHeight} ${c.strideWidth} ${aligned}`,
      m: c.batchSize * c.outHeight * c.outWidth,
      n: c.outChannels,
      k: c.filterHeight * c.filterWidth * c.inChannels,
      sizes: sizesOf(c),
      rowState: (row, i) => `${pixel(row, 'outHeight', 'outWidth', i)}
  let y${i} = i32(h${i} * ${c.strideHeight}u) - i32(padTop); let x${i} = i32(w${i} * ${c.strideWidth}u) - i32(padLeft);`,
      ...inner,
      a: (_, i) => `pixel(n${i}, y${i} + i32(kh), x${i} + i32(kw), channel, inHeight, inWidth, inChannels)`,
      b: 'filters[inner * n + column]',
      ...(bias ? { bias: 'bias[column]' } : {}),
      functions: PIXEL('image'),
      read: bias ? ['image', 'filters', 'bias'] : ['image', 'filters'],
    },
    bias ? [x, w, bias] : [x, w],
    [c.batchSize, c.outHeight, c.outWidth, c.outChannels],
  );
}

export function conv2dInputGradient(device: WebGPUDevice, dy: TensorInfo, w: TensorInfo, c: ConvInfo): TensorInfo {
  const { aligned, ...inner } = alongInner('outChannels', c.outChannels);
  const [sh, sw] = [c.strideHeight, c.strideWidth];
  return product(
    device,
    {
      name: `conv2dInputGradient ${sh} ${sw} ${aligned}`,
      m: c.batchSize * c.inHeight * c.inWidth,
      n: c.inChannels,
      k: c.filterHeight * c.filterWidth * c.outChannels,
      sizes: sizesOf(c),
      rowState: (row, i) => `${pixel(row, 'inHeight', 'inWidth', i)}
  let y${i} = i32(h${i} + padTop); let x${i} = i32(w${i} + padLeft);`,
      ...inner,
      a: (_, i) => `gradient(n${i}, y${i} - i32(kh), x${i} - i32(kw), channel, outHeight, outWidth, outChannels)`,
      // (tap, column, channel), of which (tap, channel) is inner.
      b: aligned
        ? 'filters[((khOfStep * filterWidth + kwOfStep) * n + column) * outChannels + channelOfStep + q]'
        : 'filters[((inner / outChannels) * n + column) * outChannels + inner % outChannels]',
      functions: `${PIXEL('dy')}
fn gradient(n: u32, y: i32, x: i32, channel: u32, height: u32, width: u32, channels: u32) -> f32 {
  if (y < 0 || x < 0 || y % ${sh} != 0 || x % ${sw} != 0) { return 0f; }
  return pixel(n, y / ${sh}, x / ${sw}, channel, height, width, channels);
}`,
      read: ['dy', 'filters'],
    },
    [dy, w],
    [c.batchSize, c.inHeight, c.inWidth, c.inChannels],
  );
}

export const conv2dFilterGradient = (device: WebGPUDevice, x: TensorInfo, dy: TensorInfo, c: ConvInfo): TensorInfo =>
  product(
    device,
    {
      name: `conv2dFilterGradient ${c.strideHeight} ${c.strideWidth}`,
      m: c.filterHeight * c.filterWidth * c.inChannels,
      n: c.outChannels,
      k: c.batchSize * c.outHeight * c.outWidth,
      sizes: sizesOf(c),
      rowState: (row, i) => element(row, 'inChannels', i),
      innerState: `${pixel('inner', 'outHeight', 'outWidth', '_')}
      let y = i32(h_ * ${c.strideHeight}u) - i32(padTop); let x = i32(w_ * ${c.strideWidth}u) - i32(padLeft);`,
      a: (_, i) => `pixel(n_, y + i32(kh${i}), x + i32(kw${i}), channel${i}, inHeight, inWidth, inChannels)`,
      b: 'dy[inner * n + column]',
      functions: PIXEL('image'),
      read: ['image', 'dy'],
    },
    [x, dy],
    [c.filterHeight, c.filterWidth, c.inChannels, c.outChannels],
  );
