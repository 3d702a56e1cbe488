import { fail } from '../../../core/index.js';
import type { TensorInfo } from '../../../core/tf.js';
import { type Bindable, KEPT, type SliceSum, type WebGPUDevice } from './device.js';
import { bindingOf } from './slabs.js';

export interface Dispatch {
  /** What the shader is, with every constant in it that the tensors' shapes do not tell: with these it names the pipeline. */
  readonly name: string;
  /** The shader, asked for once. Shapes are written into it as constants. */
  readonly code: () => string;
  /** Buffers in the order of their bindings. */
  readonly tensors: readonly TensorInfo[];
  /** Those whose buffers hold integers; all others must hold floats. */
  readonly integers?: readonly TensorInfo[];
  /** Whether the shader reads and writes tensors as they are stored, in half precision too; others must be float32. */
  readonly halves?: boolean;
  /** Whether the name says all: the shader then does not depend on the tensors' shapes. */
  readonly named?: boolean;
  /** Buffers bound after the tensors. */
  readonly shared?: readonly GPUBuffer[];
  readonly groups: readonly [number, number?, number?];
  /** What it adds up, if that is all it does: a captured graph may leave it for the end. */
  readonly adds?: SliceSum | undefined;
}

/**
 * Records one compute shader in the backend's pass, so that it runs in order with TensorFlow.js's kernels. Tensors may
 * be written in place: their host copies are dropped.
 */
export function dispatch(device: WebGPUDevice, { name, named, halves, code, tensors, integers, shared, groups, adds }: Dispatch): void {
  let key = name;
  if (!named) for (const { shape } of tensors) key += `|${shape.join()}`;
  const bindings: GPUBufferBinding[] = [];
  for (const tensor of tensors) {
    const entry = device.makeWritable(tensor);
    // TensorFlow.js casts integers to floats by renaming them; the buffer still holds integers.
    if (entry.dtype !== 'float32' && !integers?.includes(tensor))
      fail(
        'DEVICE_FAILED',
        'webgpu',
        `the kernel ${name} was given a buffer of ${entry.dtype}`,
        'Multiply the tensor by 1 after its cast.',
      );
    if (entry.half && !halves)
      fail('DEVICE_FAILED', 'webgpu', `the kernel ${name} was given a buffer of half precision`, 'Please report it.');
    bindings.push(bindingOf(entry));
  }
  for (const buffer of shared ?? []) bindings.push({ buffer });
  if (device.capture) {
    device.capture.add(device.pipelines.get(key) ?? device.capture.shaders.get(key, code), bindings, groups, adds);
    return;
  }
  recordDispatch(device, pipelineOf(device, key, code), bindings, groups);
}

/** The pipeline of this name, made once. */
export function pipelineOf(device: WebGPUDevice, key: string, code: () => string): GPUComputePipeline {
  let pipeline = device.pipelines.get(key);
  if (!pipeline) device.pipelines.set(key, (pipeline = compile(device, key, code())));
  return pipeline;
}

/** The pipeline of a shader. */
export function compile({ backend: { device } }: WebGPUDevice, label: string, code: string): GPUComputePipeline {
  const module = device.createShaderModule({ label, code });
  return device.createComputePipeline({ label, layout: 'auto', compute: { module, entryPoint: 'main' } });
}

/** Records one compute shader in the backend's pass, in order with all others, and sends what is recorded when it is enough. */
export function recordDispatch(
  device: WebGPUDevice,
  pipeline: GPUComputePipeline,
  bindings: readonly GPUBufferBinding[],
  groups: readonly [number, number?, number?],
): void {
  if (device.capture) {
    device.capture.add(pipeline, bindings, groups);
    return;
  }
  const { backend } = device;
  const group = bindGroup(device, pipeline, bindings);
  backend.ensureCommandEncoderReady();
  backend.computePassEncoder ??= (backend.commandEncoder as GPUCommandEncoder).beginComputePass();
  backend.computePassEncoder.setPipeline(pipeline);
  backend.computePassEncoder.setBindGroup(0, group);
  backend.computePassEncoder.dispatchWorkgroups(groups[0], groups[1] ?? 1, groups[2] ?? 1);
  device.countDispatch();
}

/** A pipeline's layout and bind groups. */
export function bindableOf({ bindables }: WebGPUDevice, pipeline: GPUComputePipeline): Bindable {
  let bindable = bindables.get(pipeline);
  if (!bindable) bindables.set(pipeline, (bindable = { layout: pipeline.getBindGroupLayout(0), groups: new Map() }));
  return bindable;
}

/** The bind group of these buffers, made once. */
function bindGroup(device: WebGPUDevice, pipeline: GPUComputePipeline, bindings: readonly GPUBufferBinding[]): GPUBindGroup {
  const { backend, buffers } = device;
  const bindable = bindableOf(device, pipeline);
  let key = '';
  for (const { buffer, offset } of bindings)
    key += offset === undefined ? `${buffers.numberOf(buffer)},` : `${buffers.numberOf(buffer)}@${offset},`;
  let group = bindable.groups.get(key);
  if (!group) {
    group = backend.device.createBindGroup({
      label: pipeline.label,
      layout: bindable.layout,
      entries: bindings.map((resource, binding) => ({ binding, resource })),
    });
    if (bindable.groups.size >= KEPT) bindable.groups.clear();
    bindable.groups.set(key, group);
  }
  return group;
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
