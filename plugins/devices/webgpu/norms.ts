import type { TensorInfo } from '../../../core/tf.js';
import * as tf from '../../../core/tf.js';
import type { GroupNormAttributes, LayerNormAttributes } from '../compute/contract.js';
import { SIGMOID } from './activations.js';
import type { WebGPUDevice } from './device.js';
import { GROUP_SUM, ROW_SUM, rowwise, TILE_SUM, tiled } from './group-sums.js';
import { dispatchVectors, newLike, vectorOf, widthOf } from './vectors.js';

// Both norms give, beside their result, what the way back needs: each group's or row's mean and 1 / standard deviation.

/** n examples of `pixels` by c channels, d of them in a group. */
function sizesOf(x: TensorInfo, groups: number) {
  const c = x.shape[x.shape.length - 1];
  const n = x.shape[0];
  const pixels = tf.util.sizeFromShape(x.shape) / n / c;
  const width = widthOf(c);
  return { n, c, d: c / groups, pixels, width, tile: tiled(n, pixels, c / width) };
}

/** A thread's channels of pairs of numbers [n, groups, 2] that stand for groups, the first or the second. */
const ofGroups = (pairs: string, which: 0 | 1, width: 1 | 4): string =>
  vectorOf(width, (k) => `${pairs}[(example * groups + (at * ${width}u + ${k}u) / d) * 2u + ${which}u]`);

/** One group of threads for each example and group of channels adds up rows [n slices, c] with `first` and `second`, told the row as `at`. */
function overGroups(
  device: WebGPUDevice,
  name: string,
  numbers: Readonly<Record<string, TensorInfo>>,
  { n, c, d, pixels, tile }: ReturnType<typeof sizesOf>,
  groups: number,
  body: string,
): TensorInfo {
  const pairs = device.newTensor([n, groups, 2]);
  dispatchVectors(device, {
    name,
    width: 1,
    read: {},
    numbers,
    write: {},
    writtenNumbers: { pairs },
    sizes: { c, d, pixels, slices: tile.slices, depth: tile.depth, groups },
    functions: GROUP_SUM,
    body: `let count = slices * d;
  let whole = f32(pixels * d);
  let place = (group.y * groups + group.x) * 2u;
  ${body}`,
    groups: [groups, n],
  });
  return pairs;
}

/** Runs a statement for each number of the group in rows [n slices, c]: its place `at`, its `channel`, and how many pixels are in the slice. */
const eachOfGroup = (statement: string): string => `for (var e = local; e < count; e += 256u) {
    let slice = e / d; let channel = group.x * d + e % d;
    let at = (group.y * slices + slice) * c + channel;
    let inSlice = f32(min(depth, pixels - slice * depth));
    ${statement}
  }`;

/** Mean and 1 / sqrt(variance + epsilon) of each example and group: [n, groups, 2]. */
function groupStatistics(device: WebGPUDevice, x: TensorInfo, groups: number, epsilon: number): TensorInfo {
  const sizes = sizesOf(x, groups);
  const { n, c, width, tile } = sizes;
  const [means, squares] = [device.newTensor([n * tile.slices, c]), device.newTensor([n * tile.slices, c])];
  dispatchVectors(device, {
    name: 'groupStatistics',
    width,
    read: { x },
    write: { means, squares },
    sizes: tile.sizes,
    functions: TILE_SUM,
    // Less the first pixel: squares of what lies far from 0 would lose what they differ by.
    body: `${tile.head}
  let about = x(start);
  var one = V(0f); var two = V(0f);
  ${tile.loop('let z = x(i) - about; one += z; two += z * z;')}
  let sum = tileSum(one, local);
  let square = tileSum(two, local);
  if (live && local < 16u) {
    let count = f32(end - first);
    means(sliceRow * columns + at, about + sum / count);
    squares(sliceRow * columns + at, max(square - sum * sum / count, V(0f)));
  }`,
    groups: tile.groups,
  });
  const stats = overGroups(
    device,
    `groupStatistics2 ${epsilon}`,
    { means, squares },
    sizes,
    groups,
    `var total = 0f;
  ${eachOfGroup('total += means[at] * inSlice;')}
  let mean = groupSum(total, local) / whole;
  var spread = 0f;
  ${eachOfGroup('let z = means[at] - mean; spread += squares[at] + z * z * inSlice;')}
  let rstd = inverseSqrt(groupSum(spread, local) / whole + ${epsilon});
  if (local == 0u) { pairs[place] = mean; pairs[place + 1u] = rstd; }`,
  );
  for (const tensor of [means, squares]) device.dispose(tensor);
  return stats;
}

/** x [n, ..., c] normalized within each example and group of channels, times gamma, plus beta (Wu and He 2018); and the statistics. */
export function groupNorm(
  device: WebGPUDevice,
  [x, gamma, beta]: TensorInfo[],
  { groups, epsilon, activate }: GroupNormAttributes,
): TensorInfo[] {
  const { d, width, tile } = sizesOf(x, groups);
  const stats = groupStatistics(device, x, groups, epsilon);
  const result = newLike(device, x);
  dispatchVectors(device, {
    name: `groupNorm ${activate}`,
    width,
    read: { x, gamma, beta },
    numbers: { stats },
    write: { result },
    sizes: { ...tile.sizes, d, groups },
    functions: activate ? SIGMOID : '',
    body: `${tile.head}
  let scale = ${ofGroups('stats', 1, width)} * gamma(at);
  let shift = beta(at) - ${ofGroups('stats', 0, width)} * scale;
  ${tile.loop(`let z = x(i) * scale + shift; result(i, ${activate ? 'z * sigmoid(z)' : 'z'});`)}`,
    groups: tile.groups,
  });
  return [result, stats];
}

/** dx; and dgamma and dbeta as rows [.., c] to be added up by whoever wants them. */
export function groupNormGrad(
  device: WebGPUDevice,
  [x, dy, gamma, beta, stats]: TensorInfo[],
  { groups, activate }: GroupNormAttributes,
): TensorInfo[] {
  const sizes = sizesOf(x, groups);
  const { n, c, d, width, tile } = sizes;
  const [gammas, betas] = [device.newTensor([n * tile.slices, c]), device.newTensor([n * tile.slices, c])];
  const dx = newLike(device, x);
  // A buffer that a shader does not use has no place in its layout.
  const read: Record<string, TensorInfo> = activate ? { x, dy, gamma, beta } : { x, dy };
  const channels = `let mean = ${ofGroups('stats', 0, width)}; let rstd = ${ofGroups('stats', 1, width)};`;
  const affine = 'let times = gamma(at);';
  const slope = `let normal = (x(i) - mean) * rstd;
      ${activate ? 'let z = normal * times + plus; let s = sigmoid(z); let g = dy(i) * s * (1f + z * (1f - s));' : 'let g = dy(i);'}`;
  dispatchVectors(device, {
    name: `groupNormGrad ${activate}`,
    width,
    read,
    numbers: { stats },
    write: { gammas, betas },
    sizes: { ...tile.sizes, d, groups },
    functions: `${TILE_SUM}\n${activate ? SIGMOID : ''}`,
    body: `${tile.head}
  ${channels}
  ${activate ? `${affine} let plus = beta(at);` : ''}
  var one = V(0f); var two = V(0f);
  ${tile.loop(`${slope} one += g * normal; two += g;`)}
  let first16 = tileSum(one, local);
  let second16 = tileSum(two, local);
  if (live && local < 16u) { gammas(sliceRow * columns + at, first16); betas(sliceRow * columns + at, second16); }`,
    groups: tile.groups,
  });
  const means = overGroups(
    device,
    'groupNormGrad2',
    { gammas, betas, gamma },
    sizes,
    groups,
    `var one = 0f; var two = 0f;
  ${eachOfGroup('one += betas[at] * gamma[channel]; two += gammas[at] * gamma[channel];')}
  let g = groupSum(one, local) / whole;
  let gn = groupSum(two, local) / whole;
  if (local == 0u) { pairs[place] = g; pairs[place + 1u] = gn; }`,
  );
  dispatchVectors(device, {
    name: `groupNormGrad3 ${activate}`,
    width,
    read: { ...read, gamma },
    numbers: { stats, means },
    write: { dx },
    sizes: { ...tile.sizes, d, groups },
    functions: activate ? SIGMOID : '',
    body: `${tile.head}
  ${channels}
  ${affine} ${activate ? 'let plus = beta(at);' : ''}
  let meanG = ${ofGroups('means', 0, width)}; let meanGN = ${ofGroups('means', 1, width)};
  ${tile.loop(`${slope} dx(i, (g * times - meanG - normal * meanGN) * rstd);`)}`,
    groups: tile.groups,
  });
  device.dispose(means);
  return [dx, gammas, betas];
}

const rowsOf = (x: TensorInfo) => {
  const c = x.shape[x.shape.length - 1];
  const width = widthOf(c);
  const rows = tf.util.sizeFromShape(x.shape) / c;
  return { c, width, rows, ...rowwise(rows, c / width) };
};

/** x [..., c] normalized within each row, times gamma, plus beta (Ba et al. 2016); and the statistics [rows, 2]. */
export function layerNorm(device: WebGPUDevice, [x, gamma, beta]: TensorInfo[], { epsilon }: LayerNormAttributes): TensorInfo[] {
  const { width, rows, groups, sizes, head } = rowsOf(x);
  const result = newLike(device, x);
  const stats = device.newTensor([rows, 2]);
  const count = `f32(columns * ${width}u)`;
  dispatchVectors(device, {
    name: `layerNorm ${epsilon}`,
    width,
    read: { x, gamma, beta },
    write: { result },
    writtenNumbers: { stats },
    sizes,
    functions: ROW_SUM,
    body: `${head}
  var total = V(0f);
  for (var i = lane; i < columns; i += 64u) { total += x(start + i); }
  let mean = rowSum(added(total), local) / ${count};
  var squares = V(0f);
  for (var i = lane; i < columns; i += 64u) { let z = x(start + i) - mean; squares += z * z; }
  let rstd = inverseSqrt(rowSum(added(squares), local) / ${count} + ${epsilon});
  if (live) {
    for (var i = lane; i < columns; i += 64u) { result(start + i, (x(start + i) - mean) * rstd * gamma(i) + beta(i)); }
    if (lane == 0u) { stats[row * 2u] = mean; stats[row * 2u + 1u] = rstd; }
  }`,
    groups,
  });
  return [result, stats];
}

/** dx alone: see layerNormGammaGrad. */
export function layerNormGrad(device: WebGPUDevice, [x, dy, gamma, stats]: TensorInfo[]): TensorInfo[] {
  const { width, groups, sizes, head } = rowsOf(x);
  const dx = newLike(device, x);
  const count = `f32(columns * ${width}u)`;
  dispatchVectors(device, {
    name: 'layerNormGrad',
    width,
    read: { x, dy, gamma },
    numbers: { stats },
    write: { dx },
    sizes,
    functions: ROW_SUM,
    body: `${head}
  let mean = stats[row * 2u]; let rstd = stats[row * 2u + 1u];
  var sumG = V(0f); var sumGN = V(0f);
  for (var i = lane; i < columns; i += 64u) {
    let g = dy(start + i) * gamma(i);
    sumG += g; sumGN += g * (x(start + i) - mean) * rstd;
  }
  let meanG = rowSum(added(sumG), local) / ${count};
  let meanGN = rowSum(added(sumGN), local) / ${count};
  if (live) {
    for (var i = lane; i < columns; i += 64u) {
      dx(start + i, (dy(start + i) * gamma(i) - meanG - (x(start + i) - mean) * rstd * meanGN) * rstd);
    }
  }`,
    groups,
  });
  return [dx];
}

/** dgamma, as rows [.., c] to be added up. */
export function layerNormGammaGrad(device: WebGPUDevice, [x, dy, stats]: TensorInfo[]): TensorInfo[] {
  const { c, width, rows } = rowsOf(x);
  const tile = tiled(1, rows, c / width);
  const gammas = device.newTensor([tile.slices, c]);
  dispatchVectors(device, {
    name: 'layerNormGammaGrad',
    width,
    read: { x, dy },
    numbers: { stats },
    write: { gammas },
    sizes: tile.sizes,
    functions: TILE_SUM,
    body: `${tile.head}
  var one = V(0f);
  ${tile.loop('one += dy(i) * (x(i) - stats[p * 2u]) * stats[p * 2u + 1u];')}
  let whole = tileSum(one, local);
  if (live && local < 16u) { gammas(sliceRow * columns + at, whole); }`,
    groups: tile.groups,
  });
  return [gammas];
}
