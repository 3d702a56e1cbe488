import type { DataType, TensorInfo } from '@tensorflow/tfjs';
import * as tf from '@tensorflow/tfjs';
import { fail } from '../../../core/index.js';
import { numberOf, SteadyBuffers } from './buffers.js';
import { bindingOf, copy, leave, type Place, tensorUsage } from './slabs.js';

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
  /** Destroyed then. */
  readonly stagingPendingDisposal: GPUBuffer[];
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

/** As many are the first ones after the host has waited for the device, which has nothing to do then; each time half as many more. */
const FIRST = 6;
let batch = FIRST;

/** To be called when the device has done all that was sent. */
export function waited(): void {
  batch = FIRST;
}

/** Bind groups kept per pipeline, and uniforms and tables in all, before they are forgotten: shapes that no longer come would pile up. */
const KEPT = 2048;

interface Bindable {
  readonly layout: GPUBindGroupLayout;
  /** Bind groups by the numbers of their buffers. */
  readonly groups: Map<string, GPUBindGroup>;
}

const bindables = new WeakMap<GPUComputePipeline, Bindable>();

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
  if (++backend.dispatchCountInPass >= batch) {
    batch = Math.min(BATCH, Math.ceil(1.5 * batch));
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

/** A storage buffer from the pool with these numbers. */
export function filled(backend: WebGPUBackendParts, numbers: Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer>): GPUBuffer {
  const buffer = backend.bufferManager.acquireBuffer(numbers.byteLength, GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST);
  backend.queue.writeBuffer(buffer, 0, numbers);
  return buffer;
}

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
    const size = (data.dtype === 'complex64' ? 8 : 4) * tf.util.sizeFromShape(data.shape);
    const buffer = backend.bufferManager.acquireBuffer(size, tensorUsage());
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
      if (program.size) list.push({ type: 'int32', data: [tf.util.sizeFromShape(output.shape) / (outputComponent || 1)] });
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
    if (data?.values) return own.read(id);
    if (!place) {
      const values = await own.read(id);
      waited();
      return values;
    }
    const staging = backend.bufferManager.acquireBuffer(place.size, GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ);
    copy(backend, data, staging, 0, place.size);
    backend.submitQueue();
    await staging.mapAsync(GPUMapMode.READ);
    waited();
    const values = new Float32Array(staging.getMappedRange().slice(0));
    staging.unmap();
    backend.bufferManager.releaseBuffer(staging);
    return values;
  };

  backend.readToGPU = (id, options) => {
    const data = backend.tensorMap.get(id);
    if (data.place) {
      // TensorFlow.js copies a tensor's whole buffer, so it gets one of its own.
      const { size } = data.place;
      const buffer = backend.bufferManager.acquireBuffer(size, tensorUsage());
      copy(backend, data, buffer, 0, size);
      leave(backend, data);
      data.resource = buffer;
    }
    return own.readToGPU(id, options);
  };
}
