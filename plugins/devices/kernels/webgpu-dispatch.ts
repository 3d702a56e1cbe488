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
  /** Bind groups by the numbers of their buffers. Buffers are pooled, so a step meets those of the step before. */
  readonly groups: Map<string, GPUBindGroup>;
}

const numbers = new WeakMap<GPUBuffer, number>();
let lastNumber = 0;

function numberOf(buffer: GPUBuffer): number {
  let number = numbers.get(buffer);
  if (number === undefined) numbers.set(buffer, (number = ++lastNumber));
  return number;
}

/** Bind groups kept per shader before they are forgotten: buffers of shapes that no longer come would pile up. */
const KEPT = 2048;

const pipelines = new WeakMap<WebGPUBackendParts, Map<string, Pipeline>>();

/** Dispatches recorded before they are sent. More saves calls; memory of disposed tensors comes back on sending. */
export const BATCH = 96;

export interface Dispatch {
  /** What the shader is, with every constant in it that the tensors' shapes do not tell: with these it names the pipeline. */
  readonly name: string;
  /** The shader, asked for once. Shapes are written into it as constants. */
  readonly code: () => string;
  /** Buffers in the order of their bindings. */
  readonly tensors: readonly TensorInfo[];
  /** Those whose buffers hold integers; all others must hold floats. */
  readonly integers?: readonly TensorInfo[];
  readonly groups: readonly [number, number?, number?];
}

/**
 * Records one compute shader in the backend's own pass, so that it runs in order with TensorFlow.js's kernels. Tensors may
 * be written in place: their host copies are dropped.
 */
export function dispatch(backend: WebGPUBackendParts, { name, code, tensors, integers, groups }: Dispatch): void {
  let pipelineKey = name;
  for (const { shape } of tensors) pipelineKey += `|${shape.join()}`;
  let cache = pipelines.get(backend);
  if (!cache) pipelines.set(backend, (cache = new Map()));
  let made = cache.get(pipelineKey);
  if (!made) {
    const pipeline = backend.device.createComputePipeline({
      layout: 'auto',
      compute: { module: backend.device.createShaderModule({ code: code() }), entryPoint: 'main' },
    });
    made = { pipeline, layout: pipeline.getBindGroupLayout(0), groups: new Map() };
    cache.set(pipelineKey, made);
  }
  let key = '';
  for (const tensor of tensors) {
    const { dataId } = tensor;
    backend.uploadToGPU(dataId);
    const data = backend.tensorMap.get(dataId);
    // TensorFlow.js casts integers to floats by renaming them; the buffer still holds integers.
    if (data.dtype !== 'float32' && !integers?.includes(tensor))
      throw new Error(`a kernel of steploom was given a buffer of ${data.dtype}: multiply by 1 first`);
    data.values = null;
    backend.commandQueueOwnedIds.add(dataId);
    key += `${numberOf(data.resource as GPUBuffer)},`;
  }
  let group = made.groups.get(key);
  if (!group) {
    const entries = tensors.map(({ dataId }, binding) => ({
      binding,
      resource: { buffer: backend.tensorMap.get(dataId).resource as GPUBuffer },
    }));
    group = backend.device.createBindGroup({ layout: made.layout, entries });
    if (made.groups.size >= KEPT) made.groups.clear();
    made.groups.set(key, group);
  }
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
