import type { Capturable, GraphCapturer, Tensors } from '../../../core/index.js';
import type { Tensor } from '../../../core/tf.js';
import * as tf from '../../../core/tf.js';
import { firstWhere } from '../compute/first-where.js';
import { tracked } from '../compute/tracked.js';
import { Effects, override } from '../compute/undo.js';
import { CaptureInProgress, isVirtual, VirtualBuffer } from './capture.js';
import { type Bound, type Door, type GraphDispatch, GraphMemory, ReplayedGraph } from './captured-graph.js';
import { CompiledAhead, isCompiled } from './compiled-ahead.js';
import { DEFERRED_SUMS, deferredSums, groupsOf } from './deferred-sums.js';
import type { WebGPUDevice } from './device.js';
import { grid, pipelineOf } from './dispatch.js';
import type { BackendInternals, TensorEntry } from './internals.js';
import { planMemory } from './memory-plan.js';
import { laidOut } from './slabs.js';

/** Gradients up to so many bytes are given out together at the end; a larger one as soon as it is there, so that its memory is free. */
const SMALL = 2 ** 18;

/** A tensor that goes in or out. */
interface Passing extends Omit<Door, 'buffer'> {
  readonly buffer: GPUBuffer | VirtualBuffer;
}

/** Captures graphs: a computation runs once with virtual buffers while its dispatches are noted; then the memory of both ways is planned together. */
export class Capturer implements GraphCapturer {
  private readonly memory: GraphMemory;

  constructor(private readonly device: WebGPUDevice) {
    this.memory = new GraphMemory(device);
  }

  get bytes(): number {
    return this.memory.bytes;
  }

  capture(inputs: readonly Tensor[], weights: Tensors, what: Capturable): ReplayedGraph {
    const { device } = this;
    const { backend } = device;
    const capture = new CaptureInProgress(new CompiledAhead(device));
    try {
      const passing = this.whileNoting(capture, weights, () => this.note(capture, inputs, what));
      capture.check();
      return this.planned(capture, passing, this.boundIn(capture, weights));
    } catch (error) {
      capture.shaders.giveUp();
      backend.uniformPendingDisposal.push(...capture.constants.values());
      for (const buffer of capture.filled) buffer.destroy();
      throw error;
    }
  }

  /** Runs a function in which nothing reaches the device, and what would make a graph depend on more than it is given is refused. */
  private whileNoting<T>(capture: CaptureInProgress, weights: Tensors, run: () => T): T {
    const { device } = this;
    const { backend } = device;
    const { uploadToGPU, read, readSync, shouldExecuteOnCPU } = backend;
    const isWeight = new Set<object>(Object.values(weights).map(({ dataId }) => dataId));
    // Identities are numbered as they come: tensors made before have lower ones.
    const { dataId: first } = backend.makeTensorInfo([1], 'float32') as { dataId: object & { id: number } };
    const isRead = (id: object): boolean => !backend.tensorMap.get(id).values || isWeight.has(id);
    const effects = new Effects();
    effects.add(
      override<BackendInternals>(backend, {
        uploadToGPU(id) {
          const entry = backend.tensorMap.get(id);
          if (entry.resource) return;
          if (isWeight.has(id)) return uploadToGPU.call(backend, id);
          const isForeign = (id as typeof first).id < first.id;
          if (isForeign) {
            capture.refuseLater('uses a tensor that it was not given');
            return uploadToGPU.call(backend, id);
          }
          entry.resource = entry.values ? capture.filledBuffer(device, entry) : capture.virtualBuffer(bytesOf(entry));
        },
        // What is small and on the host alone is computed there, and would be a constant.
        shouldExecuteOnCPU: (inputs, most) =>
          !inputs.some(({ dataId }) => isWeight.has(dataId)) && shouldExecuteOnCPU.call(backend, inputs, most),
        async read(id) {
          if (!isRead(id)) return read.call(backend, id);
          capture.refuseLater('reads a tensor');
          return new Promise<never>(() => undefined);
        },
        readSync: (id) => (isRead(id) ? capture.refuse('reads a tensor') : readSync.call(backend, id)),
        readToGPU: () => capture.refuse('reads a tensor'),
        ensureCommandEncoderReady: () => capture.refuse('copies memory'),
      }),
    );
    effects.add(override(tf.Variable.prototype, { assign: () => capture.refuse('changes a variable') }));
    effects.add(override(Math, { random: () => capture.refuse('draws a random number') }));
    device.capture = capture;
    try {
      return run();
    } finally {
      device.capture = null;
      effects.undo();
      backend.disposeData(first);
    }
  }

  /** Runs the computation with tensors in the inputs' place. */
  private note(capture: CaptureInProgress, inputs: readonly Tensor[], what: Capturable) {
    const standIns = inputs.map((input) => this.standIn(capture, input));
    const given = standIns.map((tensor) => this.passing(capture, tensor));
    for (const { buffer } of given) capture.use(buffer);
    const output = what.forward(standIns);
    capture.check();
    const result = this.outgoing(capture, output);
    capture.next();
    capture.use(result.buffer);
    const { moment: forward } = capture;
    const seed = this.device.trackedTensor(output.shape);
    const dy = this.passing(capture, seed);
    capture.next();
    capture.use(dy.buffer);
    const gradients = what.backward(seed).map((gradient) => this.outgoing(capture, gradient));
    capture.next();
    for (const { buffer, size } of gradients) if (size <= SMALL) capture.use(buffer);
    return { given, forward, result, dy, gradients };
  }

  /** What becomes of what was noted. */
  private planned(
    capture: CaptureInProgress,
    { given, forward, result, dy, gradients }: ReturnType<Capturer['note']>,
    boundTo: (binding: GPUBufferBinding) => Bound | VirtualBuffer,
  ): ReplayedGraph {
    const { device, memory } = this;
    const asked = capture.dispatches.map(({ bindings, ...rest }) => ({ ...rest, bindings: bindings.map(boundTo) }));
    const slab = slabOf(
      gradients,
      asked.map(({ bindings }) => bindings),
      new Set([...given, result, dy].map(({ buffer }) => buffer)),
    );
    const deferred = slab && deferredSums(asked, slab);
    const slabs = [slab, deferred].filter((one) => one !== null);
    const slabOfBuffer = (buffer: VirtualBuffer) => slabs.find(({ offsets }) => offsets.has(buffer));
    const used = [...capture.virtual.filter((buffer) => buffer.last >= 0 && !slabOfBuffer(buffer)), ...slabs.map((one) => one.memory)];
    const { buffers: there } = memory;
    const { at, sizes } = planMemory(
      used,
      there.map(({ size }) => size),
    );
    // What steps took from the pool until now is the graph's to take.
    device.buffers.trim();
    capture.shaders.finish();
    const all = sizes.map((size, i) => there[i] ?? memory.make(size));
    const places = new Map(used.map((virtual, i) => [virtual, all[at[i]]]));
    const bufferOf = (buffer: GPUBuffer | VirtualBuffer): GPUBuffer =>
      isVirtual(buffer) ? (places.get(slabOfBuffer(buffer)?.memory ?? buffer) as GPUBuffer) : buffer;
    const bindingOf = (bound: Bound | VirtualBuffer): Bound =>
      isVirtual(bound) ? { buffer: bufferOf(bound), offset: slabOfBuffer(bound)?.offsets.get(bound) ?? 0, size: bound.size } : bound;
    const door = (passing: Passing): Door => ({ ...passing, buffer: bufferOf(passing.buffer) });
    const kept = asked.filter((one) => !deferred?.asked.has(one));
    const upTo = (moment: number): number => firstWhere(0, kept.length, (k) => kept[k].moment > moment);
    const dispatches: GraphDispatch[] = kept.map(({ pipeline, groups, bindings }) => ({
      pipeline: isCompiled(pipeline) ? pipeline : (device.pipelines.get(pipeline.key) as GPUComputePipeline),
      groups,
      bindings: bindings.map(bindingOf),
    }));
    if (slab && deferred) {
      const table = device.filledBuffer(deferred.rows);
      capture.constants.set('deferred sums', table);
      dispatches.push({
        pipeline: pipelineOf(device, 'deferred sums', () => DEFERRED_SUMS),
        groups: grid(groupsOf(deferred.rows)),
        bindings: [bindingOf(deferred.memory), bindingOf(slab.memory), { buffer: table }],
      });
    }
    return new ReplayedGraph(device, memory, {
      dispatches,
      forward: upTo(forward),
      inputs: given.map(door),
      result: door(result),
      dy: door(dy),
      gradients: gradients.map((gradient) => ({
        ...door(gradient),
        after: isVirtual(gradient.buffer) && gradient.size > SMALL ? upTo(gradient.buffer.last) : dispatches.length,
        offset: (isVirtual(gradient.buffer) ? slab?.offsets.get(gradient.buffer) : undefined) ?? null,
      })),
      slab: slab && { buffer: bufferOf(slab.memory), length: slab.memory.size },
      shared: [...new Set(places.values())],
      constants: [...capture.constants.values()],
      own: [...capture.filled],
    });
  }

  /** Says what a binding that was asked for is to a graph; refuses what it would not know to find again. */
  private boundIn(capture: CaptureInProgress, weights: Tensors): (binding: GPUBufferBinding) => Bound | VirtualBuffer {
    const { device } = this;
    const places = new Map<unknown, string>();
    for (const [path, tensor] of Object.entries(weights)) {
      const { place, resource } = device.entryOf(tensor);
      if (place ?? resource) places.set(place ?? resource, path);
    }
    const constants = new Set(capture.constants.values());
    return (binding) => {
      const { buffer } = binding;
      if (isVirtual(buffer)) return buffer;
      if (constants.has(buffer) || capture.filled.has(buffer)) return binding;
      const weight = places.get(binding) ?? places.get(buffer);
      return weight === undefined ? capture.refuse('uses a tensor that it was not given') : { weight };
    };
  }

  /** A tensor without values, of the shape and kind of another. */
  private standIn(capture: CaptureInProgress, tensor: Tensor): Tensor {
    const { device } = this;
    const { dtype, half } = device.entryOf(tensor);
    if (dtype !== tensor.dtype || !['float32', 'int32'].includes(dtype) || tensor.size === 0)
      capture.refuse(`is given ${tensor.size} elements of ${tensor.dtype}, stored as ${dtype}`);
    if (dtype === 'float32') return device.trackedTensor(tensor.shape, half);
    return tracked(device.backend.makeTensorInfo([...tensor.shape], dtype));
  }

  private outgoing(capture: CaptureInProgress, tensor: Tensor): Passing {
    const { dtype } = this.device.entryOf(tensor);
    if (dtype !== 'float32') capture.refuse(`gives ${dtype}`);
    return this.passing(capture, tensor);
  }

  private passing(capture: CaptureInProgress, { dataId, shape, dtype }: Tensor): Passing {
    const { backend } = this.device;
    backend.uploadToGPU(dataId);
    const { resource, half = false } = backend.tensorMap.get(dataId);
    const buffer = resource as GPUBuffer;
    if (!isVirtual(buffer) && !capture.filled.has(buffer)) capture.refuse('gives what it did not compute');
    return { buffer, size: buffer.size, shape, dtype, half };
  }
}

/**
 * A slab for small gradients, and where each lies in it: they are then copied at once, added up and applied by few dispatches. None that a shader has beside
 * another, since it may not read from a buffer that it writes to; and none that is `passed` otherwise.
 */
function slabOf(
  gradients: readonly Passing[],
  bindings: readonly (readonly (Bound | VirtualBuffer)[])[],
  passed: ReadonlySet<GPUBuffer | VirtualBuffer>,
): { readonly memory: VirtualBuffer; readonly offsets: ReadonlyMap<VirtualBuffer, number> } | null {
  const small = new Set<VirtualBuffer>();
  for (const { buffer, size, half } of gradients) if (isVirtual(buffer) && size <= SMALL && !half && !passed.has(buffer)) small.add(buffer);
  for (const bound of bindings) {
    const together = new Set(bound.filter((one): one is VirtualBuffer => small.has(one as VirtualBuffer)));
    if (together.size > 1) for (const one of together) small.delete(one);
  }
  // Two gradients that are one tensor are copied for each.
  for (const one of small) if (gradients.filter(({ buffer }) => buffer === one).length > 1) small.delete(one);
  if (small.size < 2) return null;
  const all = [...small];
  const { offsets, length } = laidOut(all.map(({ size }) => size));
  const members = all.slice(0, offsets.length);
  const memory = new VirtualBuffer(length);
  memory.first = Math.min(...members.map(({ first }) => first));
  memory.last = Math.max(...members.map(({ last }) => last));
  return { memory, offsets: new Map(members.map((one, i) => [one, offsets[i]])) };
}

/** A tensor's bytes. */
const bytesOf = ({ shape }: TensorEntry): number => 4 * tf.util.sizeFromShape(shape);
