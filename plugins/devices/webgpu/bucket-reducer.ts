import type { Collective, Tensors } from '../../../core/index.js';
import type { Tensor } from '../../../core/tf.js';
import { unshared } from '../compute/memory.js';
import { BUCKET, type ReduceOptions, type Reducer } from '../compute/reduction.js';
import type { WebGPUDevice } from './device.js';
import { bindingOf } from './slabs.js';

/** Part of a tensor in a bucket; positions in floats. */
interface Piece {
  readonly path: string;
  readonly from: number;
  readonly at: number;
  readonly count: number;
}

/** One bucket: what lies where in it, and buffers that are reused from step to step. */
interface Bucket {
  readonly pieces: Piece[];
  readonly paths: Set<string>;
  filled: number;
  /** Mapped for reading, and for writing; MPI works on the array between them. */
  readonly down: GPUBuffer;
  readonly up: GPUBuffer;
  readonly array: Float32Array<ArrayBuffer>;
  /** Resolves when `up` may be written. */
  writable: Promise<unknown>;
  /** How many tensors of this step are not there yet, while they come one by one. */
  missing: number;
  /** Resolves when `down` may be read; null until this step's tensors are on their way to it. */
  readable: Promise<unknown> | null;
}

/**
 * Sums over ranks of tensors on WebGPU, bucket by bucket. A bucket whose tensors have all been offered is fetched while the device is
 * still computing the next ones (as PyTorch's DistributedDataParallel does; Li et al. 2020), so that little is left to be done when it
 * ends. While one bucket is reduced on another thread, the next is fetched and the one before goes back, to where its tensors were.
 */
export class BucketReducer implements Reducer {
  private buckets: Bucket[] | null = null;
  /** The buckets that hold a tensor. */
  private readonly holders = new Map<string, Bucket[]>();
  private readonly offered = new Map<string, Tensor>();

  constructor(
    private readonly device: WebGPUDevice,
    private readonly collective: Collective,
    private readonly options: ReduceOptions,
  ) {}

  offer(path: string, tensor: Tensor): void {
    this.offered.set(path, tensor);
    const ready = (this.holders.get(path) ?? []).filter((bucket) => --bucket.missing === 0);
    if (ready.length > 0) this.fetch(ready, (name) => this.offered.get(name) as Tensor);
  }

  /** The numbers travel in the first bucket, but not as float16. */
  async reduce(tensors: Tensors, numbers: Float32Array): Promise<Tensors> {
    const { collective, device, options, offered } = this;
    const head = options.half ? 0 : numbers.length;
    this.buckets ??= await this.arrange(tensors, head);
    const { buckets } = this;
    // Between its offer and now another may have taken a tensor's place.
    const isStale = ({ readable, paths }: Bucket) => readable && [...paths].some((path) => tensors[path] !== offered.get(path));
    for (const bucket of buckets.filter(isStale)) {
      await bucket.readable;
      bucket.down.unmap();
      bucket.readable = null;
    }
    this.fetch(
      buckets.filter(({ readable }) => readable === null),
      (path) => tensors[path],
    );
    const sums: Tensors = {};
    for (const path in tensors) {
      sums[path] = unshared(tensors[path]);
      device.makeWritable(sums[path]);
    }
    // Copies that were made must be there before sums are written over them.
    device.submit();
    const reduced: Promise<void>[] = [];
    const putBack = async (index: number) => {
      await reduced[index];
      if (index === 0) numbers.set(buckets[0].array.subarray(0, head));
      await this.send(buckets[index], sums);
    };
    for (const [index, bucket] of buckets.entries()) {
      await bucket.readable;
      const { down, array, filled } = bucket;
      const used = array.subarray(0, filled);
      used.set(new Float32Array(down.getMappedRange(0, 4 * filled)));
      down.unmap();
      bucket.readable = null;
      if (index === 0) used.set(numbers.subarray(0, head));
      reduced.push(collective.allReduce([used], options));
      reduced[index].catch(() => undefined);
      if (index > 0) await putBack(index - 1);
    }
    await putBack(buckets.length - 1);
    if (options.half) await collective.allReduce([numbers]);
    device.becameIdle();
    offered.clear();
    for (const bucket of buckets) bucket.missing = bucket.paths.size;
    return sums;
  }

  /** Gives the buffers back. */
  dispose(): void {
    for (const { down, up } of this.buckets ?? []) {
      down.destroy();
      up.destroy();
    }
    this.buckets = null;
  }

  /**
   * Deals tensors out to buckets in the order in which rank 0 was offered them, the others behind: the same on every rank, also on
   * one that has no data at this step.
   */
  private async arrange(tensors: Tensors, head: number): Promise<Bucket[]> {
    const order = JSON.parse((await this.collective.gather(JSON.stringify([...this.offered.keys()])))[0]) as string[];
    const { device } = this.device.backend;
    const { COPY_DST, COPY_SRC, MAP_READ, MAP_WRITE } = GPUBufferUsage;
    const size = Math.max(head + 1, this.options.bucket ?? BUCKET);
    const buckets: Bucket[] = [];
    const grow = (): Bucket => {
      const bucket: Bucket = {
        pieces: [],
        paths: new Set(),
        filled: buckets.length === 0 ? head : 0,
        down: device.createBuffer({ label: `bucket ${buckets.length}, to read back`, size: 4 * size, usage: COPY_DST | MAP_READ }),
        up: device.createBuffer({
          label: `bucket ${buckets.length}, to send`,
          size: 4 * size,
          usage: COPY_SRC | MAP_WRITE,
          mappedAtCreation: true,
        }),
        array: new Float32Array(size),
        writable: Promise.resolve(),
        missing: 0,
        readable: null,
      };
      buckets.push(bucket);
      return bucket;
    };
    let bucket = grow();
    for (const path of new Set([...order.filter((name) => name in tensors), ...Object.keys(tensors)]))
      for (let from = 0; from < tensors[path].size; ) {
        if (bucket.filled === size) bucket = grow();
        const count = Math.min(size - bucket.filled, tensors[path].size - from);
        bucket.pieces.push({ path, from, at: bucket.filled, count });
        bucket.paths.add(path);
        bucket.filled += count;
        from += count;
      }
    for (const each of buckets) for (const path of each.paths) this.holders.set(path, [...(this.holders.get(path) ?? []), each]);
    return buckets;
  }

  /** Records copies of the buckets' tensors to where they can be read, and sends everything so far. */
  private fetch(buckets: readonly Bucket[], tensorOf: (path: string) => Tensor): void {
    const { device } = this;
    for (const { paths } of buckets) for (const path of paths) device.makeWritable(tensorOf(path));
    const encoder = device.encoder();
    for (const { pieces, down } of buckets)
      for (const { path, from, at, count } of pieces) {
        const { buffer, offset = 0 } = bindingOf(device.entryOf(tensorOf(path)));
        encoder.copyBufferToBuffer(buffer, offset + 4 * from, down, 4 * at, 4 * count);
      }
    device.submit();
    for (const bucket of buckets) {
      bucket.readable = bucket.down.mapAsync(GPUMapMode.READ, 0, 4 * bucket.filled);
      bucket.readable.catch(() => undefined);
    }
  }

  /** Sends a bucket's sums to where its tensors are. */
  private async send(bucket: Bucket, sums: Tensors): Promise<void> {
    const { device } = this;
    const { up, array, filled, pieces } = bucket;
    await bucket.writable;
    new Float32Array(up.getMappedRange(0, 4 * filled)).set(array.subarray(0, filled));
    up.unmap();
    const encoder = device.backend.device.createCommandEncoder({ label: 'sums of a bucket' });
    for (const { path, from, at, count } of pieces) {
      const { buffer, offset = 0 } = bindingOf(device.entryOf(sums[path]));
      encoder.copyBufferToBuffer(up, 4 * at, buffer, offset + 4 * from, 4 * count);
    }
    device.backend.queue.submit([encoder.finish()]);
    bucket.writable = up.mapAsync(GPUMapMode.WRITE);
    bucket.writable.catch(() => undefined);
  }
}
