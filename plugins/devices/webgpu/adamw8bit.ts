import type { Scalar } from '../../../core/tf.js';
import * as tf from '../../../core/tf.js';
import type { Constants8bit, FactorsAdamW, Parameter8bit } from '../compute/contract.js';
import { BLOCK_SIZE, middles, SIGNED, SIGNED_ZERO, UNSIGNED } from '../compute/dynamic-map.js';
import type { WebGPUDevice } from './device.js';
import { dispatch, grid } from './dispatch.js';
import { gathered } from './factors.js';

/** 8-bit AdamW in place, over a list of parameters. */
export function adamw8bit(
  device: WebGPUDevice,
  list: readonly Parameter8bit[],
  { rate, decay, scale, correction1, correction2 }: FactorsAdamW,
  finite: number | Scalar,
  { beta1, beta2, epsilon, bound }: Constants8bit,
): void {
  tf.tidy(() => {
    const factors = gathered(device, [rate, decay, scale, finite, correction1, correction2]);
    const tables = device.constantBuffer('adamw8bit tables', () => device.filledBuffer(lookups()));
    for (const { p, g, m, v, absmax } of list) {
      const blocks = absmax.size / 2;
      const groups = grid(Math.ceil(blocks / BLOCKS_PER_GROUP));
      dispatch(device, {
        name: `adamw8bit ${p.size} ${beta1} ${beta2} ${epsilon} ${bound}`,
        code: () => shader({ size: p.size, blocks, across: groups[0], beta1, beta2, epsilon, bound }),
        tensors: [factors, g, p, m, v, absmax],
        integers: [m, v],
        named: true,
        shared: [tables],
        groups,
      });
    }
  });
}

/** Threads for a block, each of which has four elements: one word of codes. */
const TEAM = BLOCK_SIZE / 4;
/** Blocks of a workgroup, which share the tables. */
const BLOCKS_PER_GROUP = 4;

const SIGNED_EDGES = 512;
const UNSIGNED_EDGES = SIGNED_EDGES + 130;

/**
 * What the shader looks up: the values of both maps, then for each map the edges below its values from 0 up (of the signed one
 * its positive half), with a last one that nothing reaches.
 */
function lookups(): Float32Array<ArrayBuffer> {
  const edges = (map: Float32Array) => [-1, ...middles(map), 2];
  return Float32Array.from([...SIGNED, ...UNSIGNED, ...edges(SIGNED.subarray(SIGNED_ZERO)), ...edges(UNSIGNED)]);
}

const LENGTH = UNSIGNED_EDGES + 257;

const f = (x: number): string => `${Math.fround(x)}f`;

/**
 * A number's place in a map, counted from 0 up, but for one: every decade's places lie on a line, which is steeper the lower the
 * decade is, so that the least of all lines is the right one, except in the narrow gap between two decades.
 */
const guess = (x: string, firstCells: number): string =>
  Array.from({ length: 7 }, (_, decade) => {
    const cells = firstCells * 2 ** decade;
    return `fma(${x}, vec4f(${f((cells / 0.9) * 10 ** (6 - decade))}), vec4f(${f(cells + 1 - firstCells - cells / 9)}))`;
  }).reduce((a, b) => `min(${a}, ${b})`);

/**
 * One step of 8-bit AdamW as a shader. Bindings: factors, g, p, the codes of m and v, absmax, and the tables. It moves memory as
 * fast as the device does: values come from tables in the workgroup's memory, and codes from a guess that a table corrects.
 */
function shader(o: {
  size: number;
  blocks: number;
  /** Workgroups along the dispatch's first dimension. */
  across: number;
  beta1: number;
  beta2: number;
  epsilon: number;
  bound: number;
}): string {
  const mix = (x: string, old: string, keep: number) => `${old} * ${f(keep)} + ${x} * ${f(1 - keep)}`;
  const wide = o.size % 4 === 0;
  const number = wide ? 'vec4f' : 'f32';
  const load = (name: string) =>
    wide ? `${name}[word]` : `vec4f(${[0, 1, 2, 3].map((j) => `${name}[min(start + ${j}u, ${o.size - 1}u)]`).join(', ')})`;
  const values = (codes: string, from: number) =>
    `vec4f(${[0, 8, 16, 24].map((at) => `lut[${from}u + extractBits(${codes}, ${at}u, 8u)]`).join(', ')})`;
  const store = wide
    ? 'p[word] = next;'
    : [0, 1, 2, 3].map((j) => `if (start + ${j}u < ${o.size}u) { p[start + ${j}u] = next[${j}]; }`).join('\n    ');
  // What lies behind the last element must not count for the block's largest.
  const mask = wide
    ? ''
    : `    let real = vec4u(start, start + 1u, start + 2u, start + 3u) < vec4u(${o.size}u);
    means = select(vec4f(0f), means, real);
    squares = select(vec4f(0f), squares, real);`;
  return `@group(0) @binding(0) var<storage, read> factors: array<f32>;
@group(0) @binding(1) var<storage, read> g: array<${number}>;
@group(0) @binding(2) var<storage, read_write> p: array<${number}>;
@group(0) @binding(3) var<storage, read_write> m: array<u32>;
@group(0) @binding(4) var<storage, read_write> v: array<u32>;
@group(0) @binding(5) var<storage, read_write> absmax: array<f32>;
@group(0) @binding(6) var<storage, read> tables: array<f32>;
var<workgroup> lut: array<f32, ${LENGTH}>;
var<workgroup> tops: array<vec2f, ${TEAM * BLOCKS_PER_GROUP}>;

// What becomes of a number that is none is left to the driver: only integers keep a place within the table.
fn corrected(guess: f32, x: f32, edges: u32, most: u32) -> u32 {
  let k = min(u32(guess), most);
  return k + select(0u, 1u, x > lut[edges + k + 1u]) - select(0u, 1u, x <= lut[edges + k]);
}

@compute @workgroup_size(${TEAM * BLOCKS_PER_GROUP}) fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) local: u32) {
  if (factors[3] == 0f) { return; }
  for (var i = local; i < ${LENGTH}u; i += ${TEAM * BLOCKS_PER_GROUP}u) { lut[i] = tables[i]; }
  workgroupBarrier();
  let lane = local % ${TEAM}u;
  let block = (group.x + group.y * ${o.across}u) * ${BLOCKS_PER_GROUP}u + local / ${TEAM}u;
  let word = block * ${TEAM}u + lane;
  let start = word * 4u;
  let inside = start < ${o.size}u;
  var means = vec4f(0f);
  var squares = vec4f(0f);
  if (inside) {
    let x = ${load('g')} * factors[2];
    let weight = ${load('p')};
    means = ${mix('x', `${values('m[word]', 0)} * absmax[block]`, o.beta1)};
    squares = ${mix('x * x', `${values('v[word]', 256)} * absmax[${o.blocks}u + block]`, o.beta2)};
    let direction = clamp(means * factors[4] / (sqrt(squares * factors[5]) + ${f(o.epsilon)}), vec4f(${f(-o.bound)}), vec4f(${f(o.bound)}));
    let next = weight - factors[0] * (direction + factors[1] * weight);
    ${store}
${mask}
  }
  let a = abs(means);
  tops[local] = vec2f(max(max(a.x, a.y), max(a.z, a.w)), max(max(squares.x, squares.y), max(squares.z, squares.w)));
  workgroupBarrier();
  for (var width = ${TEAM / 2}u; width > 0u; width /= 2u) {
    if (lane < width) { tops[local] = max(tops[local], tops[local + width]); }
    workgroupBarrier();
  }
  if (!inside) { return; }
  let top = tops[local - lane];
  let largest = select(top, vec2f(1f), top == vec2f(0f));
  if (lane == 0u) {
    absmax[block] = largest.x;
    absmax[${o.blocks}u + block] = largest.y;
  }
  let signed = means / largest.x;
  let sizes = abs(signed);
  let unsigned = squares / largest.y;
  let placesM = clamp(${guess('sizes', 1)}, vec4f(0f), vec4f(128f));
  let placesV = clamp(${guess('unsigned', 2)}, vec4f(0f), vec4f(255f));
  var codesM = 0u;
  var codesV = 0u;
  for (var j = 0u; j < 4u; j++) {
    let k = corrected(placesM[j], sizes[j], ${SIGNED_EDGES}u, 128u);
    // A negative number never takes the code of 0, and there is no -1.
    codesM |= select(127u + k, 127u - clamp(k, 1u, 127u), signed[j] < 0f) << (8u * j);
    codesV |= corrected(placesV[j], unsigned[j], ${UNSIGNED_EDGES}u, 255u) << (8u * j);
  }
  m[word] = codesM;
  v[word] = codesV;
}`;
}
