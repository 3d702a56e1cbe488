import type { TensorInfo } from '@tensorflow/tfjs';
import { recordDispatch, touch, type WebGPUBackendParts } from './backend.js';
import { bindingOf } from './slabs.js';

const pipelines = new WeakMap<WebGPUBackendParts, Map<string, GPUComputePipeline>>();

export interface Dispatch {
  /** What the shader is, with every constant in it that the tensors' shapes do not tell: with these it names the pipeline. */
  readonly name: string;
  /** The shader, asked for once. Shapes are written into it as constants. */
  readonly code: () => string;
  /** Buffers in the order of their bindings. */
  readonly tensors: readonly TensorInfo[];
  /** Those whose buffers hold integers; all others must hold floats. */
  readonly integers?: readonly TensorInfo[];
  /** Whether the name says all: the shader then does not depend on the tensors' shapes. */
  readonly named?: boolean;
  /** Buffers bound after the tensors. */
  readonly shared?: readonly GPUBuffer[];
  readonly groups: readonly [number, number?, number?];
}

/**
 * Records one compute shader in the backend's own pass, so that it runs in order with TensorFlow.js's kernels. Tensors may
 * be written in place: their host copies are dropped.
 */
export function dispatch(backend: WebGPUBackendParts, { name, named, code, tensors, integers, shared, groups }: Dispatch): void {
  let key = name;
  if (!named) for (const { shape } of tensors) key += `|${shape.join()}`;
  let made = pipelines.get(backend);
  if (!made) pipelines.set(backend, (made = new Map()));
  let pipeline = made.get(key);
  if (!pipeline) {
    pipeline = backend.device.createComputePipeline({
      layout: 'auto',
      compute: { module: backend.device.createShaderModule({ code: code() }), entryPoint: 'main' },
    });
    made.set(key, pipeline);
  }
  const bindings: GPUBufferBinding[] = [];
  for (const tensor of tensors) {
    const data = touch(backend, tensor);
    // TensorFlow.js casts integers to floats by renaming them; the buffer still holds integers.
    if (data.dtype !== 'float32' && !integers?.includes(tensor))
      throw new Error(`a kernel of steploom was given a buffer of ${data.dtype}: multiply by 1 first`);
    bindings.push(bindingOf(data));
  }
  for (const buffer of shared ?? []) bindings.push({ buffer });
  recordDispatch(backend, pipeline, bindings, groups);
}

/** Bindings 0..n-1: what is read, then what is written. */
export const buffers = (read: readonly string[], written: readonly string[]): string =>
  [...read.map((name) => ['read', name]), ...written.map((name) => ['read_write', name])]
    .map(([access, name], i) => `@group(0) @binding(${i}) var<storage, ${access}> ${name}: array<f32>;`)
    .join('\n');

/** So many workgroups in two dimensions where one is not enough, the first of which is `grid(n)[0]` long. */
export function grid(workgroups: number): [number, number] {
  const across = Math.min(workgroups, 32768);
  return [across, Math.ceil(workgroups / across)];
}

/** A flat dispatch of `count` threads in groups of 256. */
export function flat(count: number): { groups: [number, number]; head: string } {
  const groups = grid(Math.ceil(count / 256));
  return {
    groups,
    head: `@compute @workgroup_size(256) fn main(@builtin(global_invocation_id) gid: vec3u) {
  let i = gid.x + gid.y * ${groups[0] * 256}u;
  if (i >= ${count}u) { return; }`,
  };
}
