import type { TensorInfo } from '../../../core/tf.js';
import type { ConvInfo } from '../compute/kernels.js';
import type { WebGPUDevice } from './device.js';
import { type Added, type Factor, product } from './matrix.js';

// Convolutions, NHWC, as products: a pixel's place in an image and a filter's element are found once for each vector that is loaded.

const sizesOf = (c: ConvInfo) => ({
  inHeight: c.inHeight,
  inWidth: c.inWidth,
  inChannels: c.inChannels,
  outHeight: c.outHeight,
  outWidth: c.outWidth,
  outChannels: c.outChannels,
  filterWidth: c.filterWidth,
  strideHeight: c.strideHeight,
  strideWidth: c.strideWidth,
  padTop: c.padInfo.top,
  padLeft: c.padInfo.left,
});

/** Steps along the inner axis are of so many at the most: channels in such multiples have one place of the filter a step. */
const STEP = 32;

/** Names a pixel of images of so many by so many: `n`, `h` and `w`, with something behind. */
const pixel = (at: string, height: string, width: string, end: string): string =>
  `let w${end} = ${at} % ${width}; let h${end} = (${at} / ${width}) % ${height}; let n${end} = ${at} / (${width} * ${height});`;

/** Names an element of a filter but for its output: `channel`, `kw` and `kh`, with something behind. */
const element = (at: string, channels: string, end: string): string =>
  `let channel${end} = ${at} % ${channels}; let kw${end} = (${at} / ${channels}) % filterWidth; let kh${end} = ${at} / (${channels} * filterWidth);`;

/** What filter elements along the inner axis are, each with its channel first. Where channels fill whole steps, one place of the filter is that of a step. */
function alongInner(channels: string, count: number, name: string): Pick<Factor, 'inner' | 'begin' | 'next'> {
  if (count % STEP > 0) return { inner: (at, tag) => element(at, channels, tag) };
  return {
    begin: `var channel${name} = start % ${channels}; var kw${name} = (start / ${channels}) % filterWidth; var kh${name} = start / (${channels} * filterWidth);`,
    next: `channel${name} += DEPTH; if (channel${name} >= ${channels}) { channel${name} -= ${channels}; kw${name} += 1u; if (kw${name} == filterWidth) { kw${name} = 0u; kh${name} += 1u; } }`,
    inner: (_, tag) => `let channel${tag} = channel${name} + offset${tag}; let kw${tag} = kw${name}; let kh${tag} = kh${name};`,
  };
}

/** What pixels of results along the inner axis are. Where rows of them are made of whole steps, all of a step stand in one row. */
function pixelsAlongInner(width: number, corner: (tag: string) => string): Pick<Factor, 'inner' | 'begin' | 'next'> {
  if (width % STEP > 0) return { inner: (at, tag) => `${pixel(at, 'outHeight', 'outWidth', tag)} ${corner(tag)}` };
  return {
    begin: `var wA = start % outWidth; var hA = start / outWidth % outHeight; var nA = start / (outWidth * outHeight);`,
    next: `wA += DEPTH; if (wA >= outWidth) { wA -= outWidth; hA += 1u; if (hA == outHeight) { hA = 0u; nA += 1u; } }`,
    inner: (_, tag) => `let w${tag} = wA + offset${tag}; let h${tag} = hA; let n${tag} = nA; ${corner(tag)}`,
  };
}

/** Whether a place is in an image. */
const inside = (y: string, x: string, height: string, width: string): string =>
  `(${y}) >= 0 && (${y}) < i32(${height}) && (${x}) >= 0 && (${x}) < i32(${width})`;

/** x [n, h, w, c] and filters [kh, kw, c, o], also dilated. */
export function conv2d(device: WebGPUDevice, x: TensorInfo, w: TensorInfo, c: ConvInfo, added: Added = {}): TensorInfo {
  const dilated = (at: string, by: number) => (by === 1 ? at : `(${at} * ${by}u)`);
  const y = ({ o, i }: { o: string; i: string }) => `y${o} + i32(${dilated(`kh${i}`, c.dilationHeight)})`;
  const column = ({ o, i }: { o: string; i: string }) => `x${o} + i32(${dilated(`kw${i}`, c.dilationWidth)})`;
  const image: Factor = {
    tensor: x,
    along: 'inner',
    run: c.inChannels,
    outer: (at, tag) => `${pixel(at, 'outHeight', 'outWidth', tag)}
let y${tag} = i32(h${tag} * strideHeight) - i32(padTop); let x${tag} = i32(w${tag} * strideWidth) - i32(padLeft);`,
    ...alongInner('inChannels', c.inChannels, 'A'),
    valid: (at) => inside(y(at), column(at), 'inHeight', 'inWidth'),
    index: (at) => `((n${at.o} * inHeight + u32(${y(at)})) * inWidth + u32(${column(at)})) * inChannels + channel${at.i}`,
  };
  const filters: Factor = { tensor: w, along: 'outer', run: c.outChannels, index: ({ outer, inner }) => `${inner} * n + ${outer}` };
  const k = c.filterHeight * c.filterWidth * c.inChannels;
  return product(
    device,
    {
      name: `conv2d ${c.inChannels % STEP === 0} ${c.dilationHeight} ${c.dilationWidth}`,
      m: c.batchSize * c.outHeight * c.outWidth,
      n: c.outChannels,
      terms: [{ a: image, b: filters, k }],
      sizes: sizesOf(c),
      bias: added.bias,
      rest: added.rest,
    },
    [c.batchSize, c.outHeight, c.outWidth, c.outChannels],
  );
}

/** Without dilation. */
export function conv2dInputGradient(device: WebGPUDevice, dy: TensorInfo, w: TensorInfo, c: ConvInfo): TensorInfo {
  const [sh, sw] = [c.strideHeight, c.strideWidth];
  const [y, x] = [
    ({ o, i }: { o: string; i: string }) => `(y${o} - i32(kh${i}))`,
    ({ o, i }: { o: string; i: string }) => `(x${o} - i32(kw${i}))`,
  ];
  const strided = (at: string, by: number) => (by === 1 ? at : `(${at} / ${by})`);
  const gradient: Factor = {
    tensor: dy,
    along: 'inner',
    run: c.outChannels,
    outer: (at, tag) => `${pixel(at, 'inHeight', 'inWidth', tag)}
let y${tag} = i32(h${tag} + padTop); let x${tag} = i32(w${tag} + padLeft);`,
    ...alongInner('outChannels', c.outChannels, 'A'),
    valid: (at) =>
      [
        inside(strided(y(at), sh), strided(x(at), sw), 'outHeight', 'outWidth'),
        // Division rounds towards 0.
        ...(sh === 1 && sw === 1 ? [] : [`${y(at)} >= 0 && ${x(at)} >= 0 && ${y(at)} % ${sh} == 0 && ${x(at)} % ${sw} == 0`]),
      ].join(' && '),
    index: (at) =>
      `((n${at.o} * outHeight + u32(${strided(y(at), sh)})) * outWidth + u32(${strided(x(at), sw)})) * outChannels + channel${at.i}`,
  };
  // (tap, column, channel), of which (tap, channel) is inner.
  const filters: Factor = {
    tensor: w,
    along: 'inner',
    run: c.outChannels,
    ...alongInner('outChannels', c.outChannels, 'B'),
    index: ({ outer, i }) => `((kh${i} * filterWidth + kw${i}) * n + ${outer}) * outChannels + channel${i}`,
  };
  return product(
    device,
    {
      name: `conv2dInputGradient ${sh} ${sw} ${c.outChannels % STEP === 0}`,
      m: c.batchSize * c.inHeight * c.inWidth,
      n: c.inChannels,
      terms: [{ a: gradient, b: filters, k: c.filterHeight * c.filterWidth * c.outChannels }],
      sizes: sizesOf(c),
    },
    [c.batchSize, c.inHeight, c.inWidth, c.inChannels],
  );
}

/** Without dilation. */
export function conv2dFilterGradient(device: WebGPUDevice, x: TensorInfo, dy: TensorInfo, c: ConvInfo): TensorInfo {
  const image: Factor = {
    tensor: x,
    along: 'outer',
    run: c.inChannels,
    outer: (at, tag) => element(at, 'inChannels', tag),
    ...pixelsAlongInner(
      c.outWidth,
      (tag) =>
        `let y${tag} = i32(h${tag} * ${c.strideHeight}u) - i32(padTop); let x${tag} = i32(w${tag} * ${c.strideWidth}u) - i32(padLeft);`,
    ),
    valid: ({ o, i }) => inside(`y${i} + i32(kh${o})`, `x${i} + i32(kw${o})`, 'inHeight', 'inWidth'),
    index: ({ o, i }) => `((n${i} * inHeight + u32(y${i} + i32(kh${o}))) * inWidth + u32(x${i} + i32(kw${o}))) * inChannels + channel${o}`,
  };
  const gradient: Factor = { tensor: dy, along: 'outer', run: c.outChannels, index: ({ outer, inner }) => `${inner} * n + ${outer}` };
  return product(
    device,
    {
      name: `conv2dFilterGradient ${c.strideHeight} ${c.strideWidth} ${c.outWidth % STEP === 0}`,
      m: c.filterHeight * c.filterWidth * c.inChannels,
      n: c.outChannels,
      terms: [{ a: image, b: gradient, k: c.batchSize * c.outHeight * c.outWidth }],
      sizes: sizesOf(c),
      full: true,
    },
    [c.filterHeight, c.filterWidth, c.inChannels, c.outChannels],
  );
}
