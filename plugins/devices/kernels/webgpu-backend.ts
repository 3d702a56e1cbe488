import type { DataType, TensorInfo } from '@tensorflow/tfjs';
import * as tf from '@tensorflow/tfjs';
import { fail } from '../../../core/index.js';
import { numberOf, SteadyBuffers } from './webgpu-buffers.js';

/** One buffer in which many small tensors lie; it goes back when the last of them does. */
interface Slab {
  readonly buffer: GPUBuffer;
  live: number;
}

/** Where a tensor lies in a slab, in bytes: it is its binding, too. */
export interface Place extends GPUBufferBinding {
  readonly slab: Slab;
  readonly offset: number;
  readonly size: number;
}

export interface TensorData {
  resource?: GPUBuffer | null;
  place?: Place;
  values: ArrayLike<number> | null;
  readonly dtype: DataType;
  readonly shape: number[];
}

interface Uniform {
  readonly type: string;
  readonly data: number[];
}

interface TFProgram {
  readonly pipeline: GPUComputePipeline | Promise<GPUComputePipeline>;
  readonly dispatch: readonly [number, number, number];
  readonly pixelsOpType?: unknown;
  readonly outputComponent?: number;
  readonly size?: boolean;
}

/** The parts of TensorFlow.js's WebGPU backend that we reach into (version 4.22). */
export interface WebGPUBackendParts {
  readonly device: GPUDevice;
  readonly queue: GPUQueue;
  readonly tensorMap: { get(id: object): TensorData };
  bufferManager: SteadyBuffers;
  commandEncoder: GPUCommandEncoder | null;
  computePassEncoder: GPUComputePassEncoder | null;
  dispatchCountInPass: number;
  readonly commandQueueOwnedIds: WeakSet<object>;
  /** Released, and free for others, when what is recorded has been sent. */
  readonly uniformPendingDisposal: GPUBuffer[];
  readonly activeTimers?: unknown;
  uploadToGPU(id: object): void;
  makeTensorInfo(shape: number[], dtype: DataType): TensorInfo;
  makeUniforms(uniforms: readonly Uniform[]): { readonly buffer: GPUBuffer };
  tensorToBinding(tensor: TensorInfo | null): unknown;
  recordAndSubmit(program: TFProgram, output: TensorInfo, inputs: readonly TensorInfo[], uniforms?: readonly Uniform[]): void;
  releaseResource(id: object): void;
  read(id: object): Promise<ArrayLike<number>>;
  readToGPU(id: object, options?: unknown): unknown;
  ensureCommandEncoderReady(): void;
  endComputePassEncoder(): void;
  submitQueue(): void;
  disposeData(id: object): boolean;
}

/** Dispatches recorded before they are sent. More saves calls; memory of disposed tensors comes back on sending. */
export const BATCH = 96;

/** Bind groups kept per pipeline, and uniforms and tables in all, before they are forgotten: shapes that no longer come would pile up. */
const KEPT = 2048;

/** STORAGE, COPY_SRC and COPY_DST, as TensorFlow.js asks for tensors' memory. */
const TENSOR_USAGE = 0x80 | 0x4 | 0x8;

interface Bindable {
  readonly layout: GPUBindGroupLayout;
  /** Bind groups by the numbers of their buffers. */
  readonly groups: Map<string, GPUBindGroup>;
}

const bindables = new WeakMap<GPUComputePipeline, Bindable>();

/** What binds a tensor whose values are on the device. */
export const bindingOf = ({ resource, place }: TensorData): GPUBufferBinding => place ?? { buffer: resource as GPUBuffer };

/** Readies a tensor for a shader that may write it: its values are on the device alone, and stay until what is recorded was sent. */
export function touch(backend: WebGPUBackendParts, { dataId }: TensorInfo): TensorData {
  const data = backend.tensorMap.get(dataId);
  if (!data.resource) backend.uploadToGPU(dataId);
  data.values = null;
  backend.commandQueueOwnedIds.add(dataId);
  return data;
}

/** Records one compute shader in the backend's own pass, in order with all others, and sends what is recorded when it is enough. */
export function recordDispatch(
  backend: WebGPUBackendParts,
  pipeline: GPUComputePipeline,
  bindings: readonly GPUBufferBinding[],
  groups: readonly [number, number?, number?],
): void {
  let bindable = bindables.get(pipeline);
  if (!bindable) {
    bindable = { layout: pipeline.getBindGroupLayout(0), groups: new Map() };
    bindables.set(pipeline, bindable);
  }
  let key = '';
  for (const { buffer, offset } of bindings) key += offset === undefined ? `${numberOf(buffer)},` : `${numberOf(buffer)}@${offset},`;
  let group = bindable.groups.get(key);
  if (!group) {
    group = backend.device.createBindGroup({
      layout: bindable.layout,
      entries: bindings.map((resource, binding) => ({ binding, resource })),
    });
    if (bindable.groups.size >= KEPT) bindable.groups.clear();
    bindable.groups.set(key, group);
  }
  backend.ensureCommandEncoderReady();
  backend.computePassEncoder ??= (backend.commandEncoder as GPUCommandEncoder).beginComputePass();
  backend.computePassEncoder.setPipeline(pipeline);
  backend.computePassEncoder.setBindGroup(0, group);
  backend.computePassEncoder.dispatchWorkgroups(groups[0], groups[1] ?? 1, groups[2] ?? 1);
  if (++backend.dispatchCountInPass >= BATCH) {
    backend.endComputePassEncoder();
    backend.submitQueue();
  }
}

const constants = new WeakMap<WebGPUBackendParts, Map<string, GPUBuffer>>();

/** A buffer whose content follows from its key, made once. `make` acquires it from the pool and fills it. */
export function constantBuffer(backend: WebGPUBackendParts, key: string, make: () => GPUBuffer): GPUBuffer {
  let kept = constants.get(backend);
  if (!kept) constants.set(backend, (kept = new Map()));
  let buffer = kept.get(key);
  if (!buffer) {
    if (kept.size >= KEPT) {
      backend.uniformPendingDisposal.push(...kept.values());
      kept.clear();
    }
    kept.set(key, (buffer = make()));
  }
  return buffer;
}

/**
 * Moves float tensors into a new slab, so that one shader reaches all of them through one binding. No shader may then read one
 * of them and write another through bindings of their own.
 */
export function pack(backend: WebGPUBackendParts, dataIds: readonly object[]): void {
  const alignment = 256;
  const sizes = dataIds.map((id) => 4 * sizeOf(backend.tensorMap.get(id).shape));
  const total = sizes.reduce((sum, size) => sum + Math.ceil(size / alignment) * alignment, 0);
  const slab: Slab = { buffer: backend.bufferManager.acquireBuffer(total, TENSOR_USAGE), live: dataIds.length };
  for (const id of dataIds) backend.uploadToGPU(id);
  backend.ensureCommandEncoderReady();
  backend.endComputePassEncoder();
  let offset = 0;
  for (const [i, id] of dataIds.entries()) {
    const data = backend.tensorMap.get(id);
    const from = bindingOf(data);
    (backend.commandEncoder as GPUCommandEncoder).copyBufferToBuffer(from.buffer, from.offset ?? 0, slab.buffer, offset, sizes[i]);
    leave(backend, data);
    data.place = { slab, buffer: slab.buffer, offset, size: sizes[i] };
    data.resource = slab.buffer;
    offset += Math.ceil(sizes[i] / alignment) * alignment;
  }
}

/** Gives a tensor's memory back once what is recorded has been sent. */
function leave(backend: WebGPUBackendParts, data: TensorData): void {
  if (!data.place) backend.uniformPendingDisposal.push(data.resource as GPUBuffer);
  else if (--data.place.slab.live === 0) backend.uniformPendingDisposal.push(data.place.slab.buffer);
  data.place = undefined;
}

export const sizeOf = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

/**
 * Makes the backend's host side light: bind groups, uniforms and buffers of a step are those of the step before; values are
 * sent without a mapped buffer of their own; and tensors may lie in slabs. Nothing that is computed changes.
 */
export function lighten(backend: WebGPUBackendParts): void {
  const own = {
    submitQueue: backend.submitQueue.bind(backend),
    recordAndSubmit: backend.recordAndSubmit.bind(backend),
    releaseResource: backend.releaseResource.bind(backend),
    tensorToBinding: backend.tensorToBinding.bind(backend),
    read: backend.read.bind(backend),
    readToGPU: backend.readToGPU.bind(backend),
  };
  backend.bufferManager = new SteadyBuffers(backend.device);

  // The driver goes on after an error, with what was to be written left as it was: a step that did nothing would go unseen.
  let failure: string | null = null;
  backend.device.addEventListener?.('uncapturederror', (event) => {
    failure ??= (event as GPUUncapturedErrorEvent).error.message;
  });
  backend.submitQueue = () => {
    own.submitQueue();
    if (failure === null) return;
    const message = failure;
    failure = null;
    fail('DEVICE_FAILED', 'webgpu', message, 'If memory ran out, lower the batch or the resolution; otherwise please report it.');
  };

  backend.uploadToGPU = (id) => {
    const data = backend.tensorMap.get(id);
    if (data.resource) return;
    const size = (data.dtype === 'complex64' ? 8 : 4) * sizeOf(data.shape);
    const buffer = backend.bufferManager.acquireBuffer(size, TENSOR_USAGE);
    data.resource = buffer;
    if (!data.values) return;
    // A buffer in the pool is in no command that is still to be sent, so that writing first harms nobody.
    const floats = data.dtype !== 'int32' && data.dtype !== 'bool';
    const fits = floats ? data.values instanceof Float32Array : data.values instanceof Int32Array;
    const values = (fits ? data.values : (floats ? Float32Array : Int32Array).from(data.values)) as Float32Array<ArrayBuffer>;
    backend.queue.writeBuffer(buffer, 0, values.buffer, values.byteOffset, size);
    data.values = null;
  };

  backend.tensorToBinding = (tensor) => {
    const place = tensor && backend.tensorMap.get(tensor.dataId).place;
    return place ?? own.tensorToBinding(tensor);
  };

  backend.recordAndSubmit = (program, output, inputs, uniforms) => {
    const { pipeline, pixelsOpType, outputComponent } = program;
    if (pixelsOpType != null || backend.activeTimers != null || pipeline instanceof Promise)
      return own.recordAndSubmit(program, output, inputs, uniforms);
    // What the shader is told beside its tensors: their shapes and strides, the number of elements, and values of its own.
    const tensors = [...inputs, output];
    let key = program.size ? `${outputComponent ?? 1}` : '';
    for (const { shape } of tensors) key += `|${shape.join()}`;
    for (const { type, data } of uniforms ?? []) key += `/${type[0]}${data.join()}`;
    const buffer = constantBuffer(backend, key, () => {
      const list: Uniform[] = [
        { type: 'float32', data: [Number.NaN] },
        { type: 'float32', data: [Number.POSITIVE_INFINITY] },
      ];
      for (const { shape } of tensors)
        list.push({ type: 'int32', data: [...shape] }, { type: 'int32', data: tf.util.computeStrides(shape) });
      if (program.size) list.push({ type: 'int32', data: [sizeOf(output.shape) / (outputComponent || 1)] });
      const made = backend.makeUniforms([...list, ...(uniforms ?? [])]).buffer;
      backend.uniformPendingDisposal.pop();
      return made;
    });
    const bindings = [output, ...inputs].map(({ dataId }) => {
      backend.commandQueueOwnedIds.add(dataId);
      return bindingOf(backend.tensorMap.get(dataId));
    });
    bindings.push({ buffer });
    recordDispatch(backend, pipeline, bindings, program.dispatch);
  };

  backend.releaseResource = (id) => {
    const data = backend.tensorMap.get(id);
    if (!data?.place) return own.releaseResource(id);
    leave(backend, data);
    data.resource = null;
  };

  backend.read = async (id) => {
    const data = backend.tensorMap.get(id);
    const place = data?.place;
    if (!place || data.values) return own.read(id);
    const staging = backend.bufferManager.acquireBuffer(place.size, 0x8 | 0x1);
    backend.ensureCommandEncoderReady();
    backend.endComputePassEncoder();
    (backend.commandEncoder as GPUCommandEncoder).copyBufferToBuffer(place.slab.buffer, place.offset, staging, 0, place.size);
    backend.submitQueue();
    await staging.mapAsync(0x1);
    const values = new Float32Array(staging.getMappedRange().slice(0));
    staging.unmap();
    backend.bufferManager.releaseBuffer(staging);
    return values;
  };

  backend.readToGPU = (id, options) => {
    const data = backend.tensorMap.get(id);
    if (data.place) {
      // TensorFlow.js copies a tensor's whole buffer, so it gets one of its own.
      const { slab, offset, size } = data.place;
      const buffer = backend.bufferManager.acquireBuffer(size, TENSOR_USAGE);
      backend.ensureCommandEncoderReady();
      backend.endComputePassEncoder();
      (backend.commandEncoder as GPUCommandEncoder).copyBufferToBuffer(slab.buffer, offset, buffer, 0, size);
      leave(backend, data);
      data.resource = buffer;
    }
    return own.readToGPU(id, options);
  };
}
