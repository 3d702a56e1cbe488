import { firstWhere } from '../compute/first-where.js';
import type { BufferManager } from './internals.js';

/**
 * The pool of TensorFlow.js's WebGPU backend, of which the free buffer that was made first is always taken: the same operations
 * then meet the same buffers step after step, so that bind groups can be kept. (The backend's pool takes the one freed last, which
 * shuffles them; and it looks for every buffer that comes back in a list of all.)
 */
export class SteadyBuffers implements BufferManager {
  numBytesUsed = 0;
  numBytesAllocated = 0;
  private readonly free = new Map<number, GPUBuffer[]>();
  private readonly used = new Set<GPUBuffer>();
  private lastNumber = 0;

  constructor(private readonly device: GPUDevice) {}

  acquireBuffer(size: number, usage: number, mappedAtCreation = false, reuse = true): GPUBuffer {
    let buffer = reuse ? this.free.get(keyOf(size, usage))?.pop() : undefined;
    if (!buffer) {
      buffer = this.device.createBuffer({ label: `${purpose(usage)} of ${size} bytes`, size, usage, mappedAtCreation });
      this.numBytesAllocated += size;
    }
    this.used.add(buffer);
    this.numBytesUsed += size;
    return buffer;
  }

  releaseBuffer(buffer: GPUBuffer, reuse = true): void {
    // After dispose() nothing is in use.
    if (!this.used.delete(buffer)) return;
    const { size, usage } = buffer;
    this.numBytesUsed -= size;
    if (!reuse) {
      buffer.destroy();
      this.numBytesAllocated -= size;
      return;
    }
    const key = keyOf(size, usage);
    const list = this.free.get(key);
    if (!list) {
      this.free.set(key, [buffer]);
      return;
    }
    // From the newest down to the oldest, which is taken from the end.
    const number = this.numberOf(buffer);
    list.splice(
      firstWhere(0, list.length, (i) => this.numberOf(list[i]) <= number),
      0,
      buffer,
    );
  }

  /** What tells a buffer from all others, in the order in which buffers were first asked for theirs. */
  numberOf(buffer: GPUBuffer & { steploomNumber?: number }): number {
    if (buffer.steploomNumber === undefined) buffer.steploomNumber = ++this.lastNumber;
    return buffer.steploomNumber;
  }

  getNumUsedBuffers = (): number => this.used.size;
  getNumFreeBuffers = (): number => [...this.free.values()].reduce((sum, list) => sum + list.length, 0);

  /** Gives what is free back to the driver. */
  trim(): void {
    for (const list of this.free.values())
      for (const buffer of list) {
        buffer.destroy();
        this.numBytesAllocated -= buffer.size;
      }
    this.free.clear();
  }

  /** A pool of another device's, with as much that is free. */
  likewise(device: GPUDevice): SteadyBuffers {
    const other = new SteadyBuffers(device);
    const made = [...this.free.values()].flat().map(({ size, usage }) => other.acquireBuffer(size, usage));
    for (const buffer of made) other.releaseBuffer(buffer);
    return other;
  }

  dispose(): void {
    for (const list of [...this.free.values(), [...this.used]]) for (const buffer of list) buffer.destroy();
    this.free.clear();
    this.used.clear();
    this.numBytesUsed = 0;
    this.numBytesAllocated = 0;
  }
}

/** A buffer's usage is at most 10 bits. */
const keyOf = (size: number, usage: number): number => size * 1024 + usage;

/** What a buffer of the pool is for, so that the driver's errors name it. */
function purpose(usage: number): string {
  const { MAP_READ, MAP_WRITE, UNIFORM, COPY_SRC } = GPUBufferUsage;
  if (usage & MAP_READ) return 'memory to read back';
  if (usage & MAP_WRITE) return 'memory to send';
  if (usage & UNIFORM) return 'uniforms';
  return usage & COPY_SRC ? 'tensor' : 'table';
}
