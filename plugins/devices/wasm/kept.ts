import type { TensorInfo } from '../../../core/tf.js';
import { override, type Undo } from '../compute/undo.js';
import type { BackendInternals } from './internals.js';

/** Bytes of the heap that may be kept in all; what comes later is made anew each time. */
const MOST = 64 * 2 ** 20;

/** What kernels made of weights that keep their values, packed or transformed, for as long as these live. */
export class Kept {
  private readonly known = new Map<object, Map<string, number>>();
  private readonly sizes = new Map<number, number>();
  private taken = 0;

  constructor(private readonly backend: BackendInternals) {}

  /** Bytes of the heap that are kept. */
  get bytes(): number {
    return this.taken;
  }

  /** From here on kernels keep what they make of these tensors. */
  add(tensors: Iterable<TensorInfo>): void {
    for (const { dataId } of tensors) if (!this.known.has(dataId)) this.known.set(dataId, new Map());
  }

  /** The address of what is kept of a tensor under a name, or null; where nothing is yet and some may be, `make` fills so many bytes. */
  of({ dataId }: TensorInfo, name: string, bytes: number, make: (at: number) => void): number | null {
    const all = this.known.get(dataId);
    const found = all?.get(name);
    if (!all || found !== undefined) return found ?? null;
    if (this.taken + bytes > MOST) return null;
    const at = this.backend.wasm._malloc(bytes);
    make(at);
    all.set(name, at);
    this.sizes.set(at, bytes);
    this.taken += bytes;
    return at;
  }

  /** To be called where a tensor has changed, or is gone. */
  forget(dataId: object): void {
    for (const at of this.known.get(dataId)?.values() ?? []) {
      this.backend.wasm._free(at);
      this.taken -= this.sizes.get(at) as number;
      this.sizes.delete(at);
    }
    this.known.delete(dataId);
  }

  /** Forgets what the backend frees, from here on. */
  watch(): Undo {
    const { backend } = this;
    const dispose = backend.disposeData;
    return override(backend, {
      disposeData: (id, force) => {
        const gone = dispose.call(backend, id, force);
        if (this.known.has(id) && !backend.dataIdMap.has(id)) this.forget(id);
        return gone;
      },
    });
  }

  free(): void {
    for (const dataId of [...this.known.keys()]) this.forget(dataId);
  }
}
