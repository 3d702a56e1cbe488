import type { TensorInfo } from '../../../core/tf.js';
import * as tf from '../../../core/tf.js';
import type { WebGPUDevice } from './device.js';
import { type Dispatch, dispatch } from './dispatch.js';
import { isHalf } from './half.js';
import { namedSizes, sizesBinding, sizesBuffer } from './sizes.js';
import { fitsHalf } from './storage.js';

// Passes over tensors are bound by memory: they load and store four numbers at a time, in single or in half precision, and reckon in float32.

/** Numbers along the last axis that are loaded at a time; 1 where its length is no multiple of 4. */
export const widthOf = (c: number): 1 | 4 => (c % 4 === 0 ? 4 : 1);

/** One shader over vectors `V` of `width` numbers along the last axis, which is a multiple of it. */
export interface VectorShader {
  /** With the storage of the tensors and the width it names the pipeline, so that all other constants of the text are in it. */
  readonly name: string;
  readonly width: 1 | 4;
  /** Read as `x(i)`, vector i: single or half precision. */
  readonly read: Readonly<Record<string, TensorInfo>>;
  /** Read as arrays of f32. */
  readonly numbers?: Readonly<Record<string, TensorInfo>>;
  /** Written as `y(i, value)`: single or half precision. */
  readonly write: Readonly<Record<string, TensorInfo>>;
  /** Written as arrays of f32. */
  readonly writtenNumbers?: Readonly<Record<string, TensorInfo>>;
  /** Known to `body` by name, u32 each; to `functions` as `sizes[i]`. */
  readonly sizes: Readonly<Record<string, number>>;
  readonly functions?: string;
  /** What 256 threads do, each of which knows the workgroup as `group` and itself as `local`. */
  readonly body: string;
  readonly groups: Dispatch['groups'];
}

/** Vectors of four or single numbers, with what is done alike to both. */
const TYPES = {
  4: `alias V = vec4f;
fn added(v: V) -> f32 { return (v.x + v.y) + (v.z + v.w); }
fn largest(v: V) -> f32 { return max(max(v.x, v.y), max(v.z, v.w)); }`,
  1: `alias V = f32;
fn added(v: V) -> f32 { return v; }
fn largest(v: V) -> f32 { return v; }`,
} as const;

/** A vector of what an expression gives for each of its numbers; `of` is told the number's place in the vector. */
export const vectorOf = (width: 1 | 4, of: (k: number) => string): string =>
  width === 1 ? of(0) : `vec4f(${[0, 1, 2, 3].map(of).join(', ')})`;

const declared = (access: 'read' | 'read_write', name: string, half: boolean): string => {
  const memory = `${name}Memory`;
  const lines = [`var<storage, ${access}> ${memory}: array<${half ? 'vec2u' : 'V'}>;`];
  if (access === 'read')
    lines.push(
      half
        ? `fn ${name}(i: u32) -> V { let two = ${memory}[i]; return vec4f(unpack2x16float(two.x), unpack2x16float(two.y)); }`
        : `fn ${name}(i: u32) -> V { return ${memory}[i]; }`,
    );
  else
    lines.push(
      half
        ? `fn ${name}(i: u32, v: V) { ${memory}[i] = vec2u(pack2x16float(v.xy), pack2x16float(v.zw)); }`
        : `fn ${name}(i: u32, v: V) { ${memory}[i] = v; }`,
    );
  return lines.join('\n');
};

/** Records a shader over vectors. */
export function dispatchVectors(device: WebGPUDevice, shader: VectorShader): void {
  const { width, sizes } = shader;
  const arrays = (access: string, of: Readonly<Record<string, TensorInfo>> = {}) =>
    Object.entries(of).map(([name, tensor]) => ({ tensor, half: '', text: () => `var<storage, ${access}> ${name}: array<f32>;` }));
  const vectors = (access: 'read' | 'read_write', of: Readonly<Record<string, TensorInfo>>) =>
    Object.entries(of).map(([name, tensor]) => {
      const half = isHalf(device, tensor);
      return { tensor, half: half ? 'h' : 'f', text: () => declared(access, name, half) };
    });
  const bound = [
    ...vectors('read', shader.read),
    ...arrays('read', shader.numbers),
    ...vectors('read_write', shader.write),
    ...arrays('read_write', shader.writtenNumbers),
  ];
  dispatch(device, {
    name: `${shader.name} ${width} ${bound.map(({ half }) => half).join('')}`,
    named: true,
    halves: true,
    code: () => `${TYPES[width]}
${bound.map(({ text }, i) => `@group(0) @binding(${i}) ${text()}`).join('\n')}
${sizesBinding(bound.length)}
${shader.functions ?? ''}
@compute @workgroup_size(256) fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) local: u32) {
  ${namedSizes(Object.keys(sizes))}
  ${shader.body}
}`,
    tensors: bound.map(({ tensor }) => tensor),
    shared: [sizesBuffer(device, Object.values(sizes))],
    groups: shader.groups,
  });
}

/** A new tensor that is stored as another is, if its shape may be. */
export const newLike = (device: WebGPUDevice, like: TensorInfo, shape: readonly number[] = like.shape): TensorInfo =>
  device.newTensor(shape, isHalf(device, like) && fitsHalf(shape));

/** So many threads, one a vector, in two dimensions where one is not enough: `body` is run for each `i` below `count`. */
export function dispatchEach(device: WebGPUDevice, shader: Omit<VectorShader, 'groups'>, count: number): void {
  if (count === 0) return;
  const workgroups = Math.ceil(count / 256);
  const across = Math.min(workgroups, 32768);
  dispatchVectors(device, {
    ...shader,
    sizes: { ...shader.sizes, count, across },
    body: `let i = (group.y * across + group.x) * 256u + local;
  if (i >= count) { return; }
  ${shader.body}`,
    groups: [across, Math.ceil(workgroups / across)],
  });
}

/** Vectors in a tensor. */
export const vectorsIn = ({ shape }: TensorInfo, width: number): number => tf.util.sizeFromShape(shape) / width;
