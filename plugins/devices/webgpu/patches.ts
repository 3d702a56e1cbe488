import { fail } from '../../../core/index.js';
import * as tf from '../../../core/tf.js';
import { keepOn } from '../compute/installed.js';
import { override, type Undo } from '../compute/undo.js';
import type { WebGPUDevice } from './device.js';
import { recordDispatch } from './dispatch.js';
import { toFull, withFull } from './half.js';
import type { BackendInternals, Uniform } from './internals.js';
import { bindingOf, copy, numbersOf, releaseMemory } from './slabs.js';
import { tensorUsage } from './storage.js';

/**
 * Makes the backend's host side light: bind groups, uniforms and buffers of a step are those of the step before; values are
 * sent without a mapped buffer for each; and tensors may lie in slabs. Nothing that is computed changes. Undoing frees all buffers.
 */
export function patchBackend(device: WebGPUDevice): Undo {
  const { backend, buffers } = device;
  const unpatch = override<BackendInternals>(backend, {
    bufferManager: buffers,
    ...sending(device),
    ...reading(device),
  });
  const forget = keepOn(backend, device);
  return () => {
    forget();
    unpatch();
    buffers.dispose();
  };
}

/** What goes to the device. */
function sending(device: WebGPUDevice): Partial<BackendInternals> {
  const { backend } = device;
  const submitQueue = backend.submitQueue.bind(backend);
  const recordAndSubmit = backend.recordAndSubmit.bind(backend);
  const recordFull: BackendInternals['recordAndSubmit'] = (program, output, inputs, uniforms) => {
    const { pipeline, pixelsOpType, outputComponent } = program;
    if (pixelsOpType != null || backend.activeTimers != null || pipeline instanceof Promise)
      return recordAndSubmit(program, output, inputs, uniforms);
    // What the shader is told beside its tensors: their shapes and strides, the number of elements, and values of the program's.
    const tensors = [...inputs, output];
    let key = program.size ? `${outputComponent ?? 1}` : '';
    for (const { shape } of tensors) key += `|${shape.join()}`;
    for (const { type, data } of uniforms ?? []) key += `/${type[0]}${data.join()}`;
    const buffer = device.constantBuffer(key, () => {
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
    recordDispatch(device, pipeline, bindings, program.dispatch);
  };
  return {
    submitQueue() {
      submitQueue();
      const { failure } = device;
      if (failure === null) return;
      device.failure = null;
      if (failure.constructor.name === 'GPUOutOfMemoryError')
        fail(
          'OUT_OF_MEMORY',
          'webgpu',
          failure.message,
          'Lower the batch, with gradient accumulation in its place, or the resolution; gradient checkpointing and mixed precision (fp16) take less.',
        );
      fail('DEVICE_FAILED', 'webgpu', failure.message, 'If memory ran out, lower the batch or the resolution; otherwise please report it.');
    },

    uploadToGPU(id) {
      const entry = backend.tensorMap.get(id);
      if (entry.resource) return;
      const size = (entry.dtype === 'complex64' ? 8 : 4) * tf.util.sizeFromShape(entry.shape);
      const buffer = device.buffers.acquireBuffer(size, tensorUsage());
      entry.resource = buffer;
      if (!entry.values) return;
      // A buffer in the pool is in no command that is still to be sent, so that writing first harms nobody.
      const values = numbersOf(entry);
      backend.queue.writeBuffer(buffer, 0, values.buffer, values.byteOffset, size);
      entry.values = null;
    },

    recordAndSubmit(program, output, given, uniforms) {
      withFull(device, given, (inputs) => recordFull(program, output, inputs, uniforms));
    },
  };
}

/** What knows where tensors lie: the backend takes each for the whole of its buffer. */
function reading(device: WebGPUDevice): Partial<BackendInternals> {
  const { backend } = device;
  const tensorToBinding = backend.tensorToBinding.bind(backend);
  const releaseResource = backend.releaseResource.bind(backend);
  const read = backend.read.bind(backend);
  const readSync = backend.readSync.bind(backend);
  const readToGPU = backend.readToGPU.bind(backend);
  /** Calls `use` with a tensor as TensorFlow.js takes it: in single precision, and with a buffer for itself, of which it takes all. */
  function whole<T>(id: object, use: (id: object) => T): T {
    const entry = backend.tensorMap.get(id);
    if (entry.half) {
      const full = toFull(device, { dataId: id, dtype: entry.dtype, shape: entry.shape });
      try {
        return use(full.dataId);
      } finally {
        device.dispose(full);
      }
    }
    if (entry.place) {
      const { size } = entry.place;
      const buffer = device.buffers.acquireBuffer(size, tensorUsage());
      copy(device, entry, buffer, 0, size);
      releaseMemory(device, entry);
      entry.resource = buffer;
    }
    return use(id);
  }
  return {
    tensorToBinding(tensor) {
      const place = tensor && backend.tensorMap.get(tensor.dataId).place;
      return place ?? tensorToBinding(tensor);
    },

    releaseResource(id) {
      const entry = backend.tensorMap.get(id);
      if (!entry?.place) return releaseResource(id);
      releaseMemory(device, entry);
      entry.resource = null;
    },

    async read(id) {
      const entry = backend.tensorMap.get(id);
      const place = entry?.place;
      if (entry?.values) return read(id);
      if (entry?.half) {
        const full = toFull(device, { dataId: id, dtype: entry.dtype, shape: entry.shape });
        try {
          return await backend.read(full.dataId);
        } finally {
          device.dispose(full);
        }
      }
      if (!place) {
        const values = await read(id);
        device.becameIdle();
        return values;
      }
      const staging = device.buffers.acquireBuffer(place.size, GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ);
      copy(device, entry, staging, 0, place.size);
      backend.submitQueue();
      await staging.mapAsync(GPUMapMode.READ);
      device.becameIdle();
      const values = new Float32Array(staging.getMappedRange().slice(0));
      staging.unmap();
      device.buffers.releaseBuffer(staging);
      return values;
    },

    readSync: (id) => (backend.tensorMap.get(id).values ? readSync(id) : whole(id, readSync)),
    readToGPU: (id, options) => whole(id, (one) => readToGPU(one, options)),
  };
}
