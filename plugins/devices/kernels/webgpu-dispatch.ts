import type { DataType, TensorInfo } from '@tensorflow/tfjs';

/** The parts of TensorFlow.js's WebGPU backend that our kernels reach into (version 4.22). */
export interface WebGPUBackendParts {
  readonly device: GPUDevice;
  readonly tensorMap: { get(id: object): { resource?: GPUBuffer; values: unknown; dtype: DataType } };
  commandEncoder: GPUCommandEncoder | null;
  computePassEncoder: GPUComputePassEncoder | null;
  dispatchCountInPass: number;
  readonly commandQueueOwnedIds: WeakSet<object>;
  uploadToGPU(id: object): void;
  makeTensorInfo(shape: number[], dtype: DataType): TensorInfo;
  ensureCommandEncoderReady(): void;
  endComputePassEncoder(): void;
  submitQueue(): void;
  disposeData(id: object): boolean;
}

interface Pipeline {
  readonly pipeline: GPUComputePipeline;
  readonly layout: GPUBindGroupLayout;
}

const pipelines = new WeakMap<WebGPUBackendParts, Map<string, Pipeline>>();

/** Dispatches recorded before they are sent. More saves calls; memory of disposed tensors comes back on sending. */
const BATCH = 96;

export interface Dispatch {
  /** The shader; it is its own cache key, so shapes are written into it as constants. */
  readonly code: string;
  /** Buffers in the order of their bindings. */
  readonly tensors: readonly TensorInfo[];
  readonly groups: readonly [number, number?, number?];
}

/**
 * Records one compute shader in the backend's own pass, so that it runs in order with TensorFlow.js's kernels. Tensors may
 * be written in place: their host copies are dropped.
 */
export function dispatch(backend: WebGPUBackendParts, { code, tensors, groups }: Dispatch): void {
  let cache = pipelines.get(backend);
  if (!cache) pipelines.set(backend, (cache = new Map()));
  let made = cache.get(code);
  if (!made) {
    const pipeline = backend.device.createComputePipeline({ layout: 'auto', compute: { module: backend.device.createShaderModule({ code }), entryPoint: 'main' } });
    made = { pipeline, layout: pipeline.getBindGroupLayout(0) };
    cache.set(code, made);
  }
  const entries = tensors.map(({ dataId }, binding) => {
    backend.uploadToGPU(dataId);
    const data = backend.tensorMap.get(dataId);
    // TensorFlow.js casts integers to floats by renaming them; the buffer still holds integers.
    if (data.dtype !== 'float32') throw new Error(`a kernel of steploom was given a buffer of ${data.dtype}: multiply by 1 first`);
    data.values = null;
    backend.commandQueueOwnedIds.add(dataId);
    return { binding, resource: { buffer: data.resource as GPUBuffer } };
  });
  const group = backend.device.createBindGroup({ layout: made.layout, entries });
  backend.ensureCommandEncoderReady();
  backend.computePassEncoder ??= (backend.commandEncoder as GPUCommandEncoder).beginComputePass();
  backend.computePassEncoder.setPipeline(made.pipeline);
  backend.computePassEncoder.setBindGroup(0, group);
  backend.computePassEncoder.dispatchWorkgroups(groups[0], groups[1] ?? 1, groups[2] ?? 1);
  if (++backend.dispatchCountInPass >= BATCH) {
    backend.endComputePassEncoder();
    backend.submitQueue();
  }
}

export const sizeOf = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

/** Bindings 0..n-1: what is read, then what is written. */
export const buffers = (read: readonly string[], written: readonly string[]): string =>
  [...read.map((name) => ['read', name]), ...written.map((name) => ['read_write', name])]
    .map(([access, name], i) => `@group(0) @binding(${i}) var<storage, ${access}> ${name}: array<f32>;`)
    .join('\n');

/** A flat dispatch of `count` threads in groups of 256, in two dimensions where one is not enough. */
export function flat(count: number): { groups: [number, number]; head: string } {
  const wanted = Math.ceil(count / 256);
  const x = Math.min(wanted, 32768);
  const y = Math.ceil(wanted / x);
  return {
    groups: [x, y],
    head: `@compute @workgroup_size(256) fn main(@builtin(global_invocation_id) gid: vec3u) {
  let i = gid.x + gid.y * ${x * 256}u;
  if (i >= ${count}u) { return; }`,
  };
}
