import { type Batch, microBatchesOf, type Source } from '../data.js';
import type { Micro, Plan } from '../plan.js';
import type { Device } from '../plugin/roles.js';
import { disposeAll } from '../tape.js';
import { macrotask } from './breathe.js';

/** A microBatch that is loaded before it is asked for. */
interface Prefetch {
  readonly epoch: number;
  readonly inEpoch: number;
  begun(): boolean;
  /** The batch; begins to load it if that has not begun. */
  batch(): Promise<Batch | null>;
}

/**
 * Gives a run its batches. With a device that computes while the host goes on (one with `upload`), the next one is loaded and sent
 * there while the host waits for the present one.
 */
export class Loader {
  private order: { readonly epoch: number; readonly microBatches: ReturnType<typeof microBatchesOf> } | null = null;
  private prefetched: Prefetch | null = null;

  constructor(
    private readonly source: Source,
    private readonly plan: Plan,
    private readonly device: Device,
  ) {}

  /** The batch of a microBatch; null where this rank's data has ended. */
  async load(micro: Micro): Promise<Batch | null> {
    const { epoch, inEpoch } = micro;
    const isNext = this.prefetched?.epoch === epoch && this.prefetched.inEpoch === inEpoch;
    if (!isNext) await this.drop();
    const batch = await (this.prefetched?.batch() ?? this.fetch(epoch, inEpoch));
    const { microBatchesPerEpoch, steps } = this.plan;
    const isLast = micro.endsWindow && micro.step === steps - 1;
    const goesOn = inEpoch + 1 < microBatchesPerEpoch;
    this.prefetched = !this.device.upload || isLast ? null : goesOn ? this.prefetch(epoch, inEpoch + 1) : this.prefetch(epoch + 1, 0);
    return batch;
  }

  /** Frees what nobody will ask for. */
  async drop(): Promise<void> {
    const { prefetched } = this;
    this.prefetched = null;
    if (!prefetched?.begun()) return;
    const batch = await prefetched.batch().catch(() => null);
    if (batch) disposeAll(batch.tensors);
  }

  private async fetch(epoch: number, inEpoch: number): Promise<Batch | null> {
    const { source } = this;
    if (this.order?.epoch !== epoch) this.order = { epoch, microBatches: microBatchesOf(source, epoch) };
    const { microBatches } = this.order;
    const wanted = microBatches.at(inEpoch);
    if (wanted.length === 0) return null;
    return source.load(wanted, { epoch, upcoming: [1, 2, 3].flatMap((ahead) => microBatches.at(inEpoch + ahead)) });
  }

  /** Fetches when the host next waits for something, or when the batch is asked for. */
  private prefetch(epoch: number, inEpoch: number): Prefetch {
    let fetching: Promise<Batch | null> | null = null;
    const start = async () => {
      const batch = await this.fetch(epoch, inEpoch);
      for (const tensor of Object.values(batch?.tensors ?? {})) this.device.upload?.(tensor);
      return batch;
    };
    const prefetch: Prefetch = { epoch, inEpoch, begun: () => fetching !== null, batch: () => (fetching ??= start()) };
    void macrotask().then(() => {
      // An error is for the one who asks for the batch.
      if (this.prefetched === prefetch) prefetch.batch().catch(() => undefined);
    });
    return prefetch;
  }
}
