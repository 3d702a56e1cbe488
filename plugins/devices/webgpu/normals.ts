import type { RandomGenerator } from '../../../core/index.js';
import type { Tensor } from '../../../core/tf.js';
import * as tf from '../../../core/tf.js';
import type { WebGPUDevice } from './device.js';
import { dispatch, grid } from './dispatch.js';
import { namedSizes, sizesBinding, sizesBuffer } from './sizes.js';

/**
 * What RandomGenerator.normals computes, a thread for each block of four: the same words of Philox, and Box and Muller's transform in
 * float32. The logarithm is a series written out here, as WGSL's may be off by 2^-21 near 1, where the radius is small.
 */
export function normals(device: WebGPUDevice, generators: readonly RandomGenerator[], size: number): Tensor {
  const words = new Int32Array(generators.length * 5);
  let at = 0;
  for (const { stream, key } of generators) {
    for (const word of stream) words[at++] = word;
    for (const word of key) words[at++] = word;
  }
  const table = tf.tensor1d(words, 'int32');
  const out = device.trackedTensor([generators.length, size]);
  const blocks = Math.ceil(size / 4);
  const [across, down] = grid(Math.ceil(blocks / 64));
  dispatch(device, {
    name: 'normals',
    named: true,
    integers: [table],
    tensors: [table, out],
    shared: [sizesBuffer(device, [size, blocks, across * 64])],
    groups: [across, down, generators.length],
    code: () => `@group(0) @binding(0) var<storage, read> table: array<u32>;
@group(0) @binding(1) var<storage, read_write> to: array<f32>;
${sizesBinding(2)}
fn high(a: u32, b: u32) -> u32 {
  let al = a & 0xffffu;
  let ah = a >> 16u;
  let bl = b & 0xffffu;
  let bh = b >> 16u;
  let across = al * bh;
  let back = ah * bl;
  let middle = ((al * bl) >> 16u) + (across & 0xffffu) + (back & 0xffffu);
  return ah * bh + (across >> 16u) + (back >> 16u) + (middle >> 16u);
}
/** sqrt(-2 log u) of u = (word's upper 24 bits + 1/2) / 2^24. */
fn radius(word: u32) -> f32 {
  let upper = word >> 8u;
  // log u = e log 2 + log m with m within sqrt(1/2)..sqrt(2), by the series of atanh((m - 1) / (m + 1)).
  let below = f32(2u * (16777216u - upper) - 1u) * ${2 ** -25}f;
  let split = frexp(f32(2u * upper + 1u) * ${2 ** -25}f);
  let low = split.fract < ${Math.SQRT1_2}f;
  let m = select(split.fract, 2f * split.fract, low);
  let e = f32(split.exp - select(0, 1, low));
  let s = select((m - 1f) / (m + 1f), -below / (2f - below), e == 0f);
  let ss = s * s;
  let series = 2f * s * (1f + ss * (${1 / 3}f + ss * (0.2f + ss * (${1 / 7}f + ss * ${1 / 9}f))));
  return sqrt(-2f * (e * ${Math.LN2}f + series));
}
fn pair(a: u32, b: u32) -> vec2f {
  let x = (f32(b & 0x3fffffffu) * ${2 ** -30}f - 0.5f) * ${Math.PI / 2}f;
  let xx = x * x;
  let sin = x * (1f + xx * (${-1 / 6}f + xx * (${1 / 120}f + xx * (${-1 / 5040}f + xx * ${1 / 362880}f))));
  let cos = 1f + xx * (-0.5f + xx * (${1 / 24}f + xx * (${-1 / 720}f + xx * (${1 / 40320}f - xx * ${1 / 3628800}f))));
  let odd = (b & 0x40000000u) != 0u;
  let r = select(radius(a), -radius(a), (b & 0x80000000u) != 0u);
  return r * select(vec2f(cos, sin), vec2f(-sin, cos), odd);
}
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) gid: vec3u) {
  ${namedSizes(['size', 'blocks', 'across'])}
  let block = gid.x + gid.y * across;
  if (block >= blocks) { return; }
  let row = 5u * gid.z;
  var c = vec4u(block, table[row], table[row + 1u], table[row + 2u]);
  var k = vec2u(table[row + 3u], table[row + 4u]);
  for (var round = 0u; round < 10u; round++) {
    c = vec4u(high(0xcd9e8d57u, c.z) ^ c.y ^ k.x, 0xcd9e8d57u * c.z, high(0xd2511f53u, c.x) ^ c.w ^ k.y, 0xd2511f53u * c.x);
    k += vec2u(0x9e3779b9u, 0xbb67ae85u);
  }
  let n = vec4f(pair(c.x, c.y), pair(c.z, c.w));
  for (var i = 0u; i < min(4u, size - 4u * block); i++) { to[gid.z * size + 4u * block + i] = n[i]; }
}`,
  });
  table.dispose();
  return out;
}
