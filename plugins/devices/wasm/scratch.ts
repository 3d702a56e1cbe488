import type { BackendInternals } from './internals.js';

/** Memory in the backend's heap for tables and threads, kept by its use and grown where that is not enough. */
export class Scratch {
  private readonly known = new Map<string, { readonly bytes: number; readonly at: number }>();

  constructor(private readonly wasm: BackendInternals['wasm']) {}

  /** The address of at least so many bytes. */
  at(use: string, bytes: number): number {
    const found = this.known.get(use);
    if (found && found.bytes >= bytes) return found.at;
    if (found) this.wasm._free(found.at);
    const at = this.wasm._malloc(bytes);
    this.known.set(use, { bytes, at });
    return at;
  }

  /** The address of at least so many zeros, which nothing writes to. */
  zeros(bytes: number): number {
    const found = this.known.get('zeros');
    const at = this.at('zeros', bytes);
    if (this.known.get('zeros') !== found) this.wasm.HEAPU8.fill(0, at, at + bytes);
    return at;
  }

  /** The address of what is kept for a use already. */
  find(use: string): number | undefined {
    return this.known.get(use)?.at;
  }

  free(): void {
    for (const { at } of this.known.values()) this.wasm._free(at);
    this.known.clear();
  }
}
