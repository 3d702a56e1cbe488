import type { TensorInfo } from '../../../core/tf.js';
import * as tf from '../../../core/tf.js';
import type { GroupNormAttributes, LayerNormAttributes } from '../compute/contract.js';
import type { WasmDevice } from './device.js';

const sizes = (x: TensorInfo) => {
  const [n, c] = [x.shape[0], x.shape[x.shape.length - 1]];
  const count = tf.util.sizeFromShape(x.shape);
  return { n, c, count, pixels: count / n / c, rows: count / c };
};

/** A number of a norm takes as long as so many multiplications, and of a gradient with silu before it. */
const WORK = 4;
const WORK_OF_GRADIENT = 16;

/** The result, and mean and 1 / standard deviation of each channel's group [n, 2, c]. */
export function groupNorm(device: WasmDevice, [x, gamma, beta]: TensorInfo[], attributes: GroupNormAttributes): TensorInfo[] {
  const { n, c, count, pixels } = sizes(x);
  const { groups, epsilon, activate } = attributes;
  const made = [device.newTensor(x.shape), device.newTensor([n, 2, c])];
  const addresses = [x, gamma, beta, ...made].map((t) => device.address(t));
  device.overBlocks('groupNorm', [...addresses, pixels, c, groups, epsilon, Number(activate)], n, WORK * count);
  return made;
}

/** dx, and dgamma and dbeta of each example [n, c]. */
export function groupNormGrad(
  device: WasmDevice,
  [x, dy, gamma, beta, stats]: TensorInfo[],
  attributes: GroupNormAttributes,
): TensorInfo[] {
  const { n, c, count, pixels } = sizes(x);
  const { groups, activate } = attributes;
  const made = [device.newTensor(x.shape), device.newTensor([n, c]), device.newTensor([n, c])];
  const addresses = [x, dy, gamma, beta, stats, ...made].map((t) => device.address(t));
  device.overBlocks('groupNormGrad', [...addresses, pixels, c, groups, Number(activate)], n, WORK_OF_GRADIENT * count);
  return made;
}

/** The result, and mean and 1 / standard deviation of each row [rows, 2]. */
export function layerNorm(device: WasmDevice, [x, gamma, beta]: TensorInfo[], { epsilon }: LayerNormAttributes): TensorInfo[] {
  const { c, count, rows } = sizes(x);
  const made = [device.newTensor(x.shape), device.newTensor([rows, 2])];
  device.overBlocks('layerNorm', [...[x, gamma, beta, ...made].map((t) => device.address(t)), c, epsilon], rows, WORK * count);
  return made;
}

/** dx; dgamma is {@link layerNormGammaGrad}'s, and dbeta the sum of dy. */
export function layerNormGrad(device: WasmDevice, [x, dy, gamma, stats]: TensorInfo[]): TensorInfo[] {
  const { c, count, rows } = sizes(x);
  const dx = device.newTensor(x.shape);
  device.overBlocks('layerNormGrad', [...[x, dy, gamma, stats, dx].map((t) => device.address(t)), c], rows, WORK * count);
  return [dx];
}

/** dgamma [1, c]. */
export function layerNormGammaGrad(device: WasmDevice, [x, dy, stats]: TensorInfo[]): TensorInfo[] {
  const { c, rows } = sizes(x);
  const dgamma = device.newTensor([1, c]);
  device.module.layerNormGammaGrad(device.address(x), device.address(dy), device.address(stats), device.address(dgamma), rows, c);
  return [dgamma];
}
