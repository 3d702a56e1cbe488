/** Role COLLECTIVE: the other processes of the run. Every rank makes the same calls in the same order. */
export interface Collective {
  /** This process, from 0. */
  readonly rank: number;
  /** All processes. */
  readonly worldSize: number;
  /** This process among those of its machine, which share its cores and GPUs. */
  readonly localRank: number;
  /** How many of the processes are on this machine. */
  readonly localSize: number;
  /** The sum of a number over all ranks. */
  sum(value: number): Promise<number>;
  /** The largest of a number over all ranks. */
  max(value: number): Promise<number>;
  /**
   * Adds up arrays over all ranks, in place; every rank gives as many of the same lengths, and gets the same numbers bit for bit.
   * `half` sends float16, each piece scaled so that it fits.
   */
  allReduce(arrays: readonly Float32Array[], options?: { readonly half?: boolean }): Promise<void>;
  /** The bytes of rank `from`, 0 by default, on every rank; the others' argument is not looked at. */
  broadcast(bytes: Uint8Array | null, from?: number): Promise<Uint8Array>;
  /** Every rank's text, in the order of ranks. */
  gather(text: string): Promise<string[]>;
  /** Resolves when every rank has called it. */
  barrier(): Promise<void>;
}

/** One process by itself. */
export const oneProcess = (): Collective => ({
  rank: 0,
  worldSize: 1,
  localRank: 0,
  localSize: 1,
  sum: async (x) => x,
  max: async (x) => x,
  allReduce: async () => undefined,
  broadcast: async (bytes) => bytes ?? new Uint8Array(0),
  gather: async (text) => [text],
  barrier: async () => undefined,
});
