import { fail, SteploomError } from '../../../core/index.js';
import { override, type Undo } from '../compute/undo.js';
import type { BackendInternals } from './internals.js';

/** The most that the heap of TensorFlow.js's module grows to: addresses have 32 bits. */
export const MOST_HEAP = 2 ** 32 - 2 ** 16;

const FIX = 'Lower the batch (and accumulate gradients) or the resolution, or use a GPU.';

/** The heap's own words in place of the crash that writing to address 0 ends in, or to the address of a length cut to 32 bits. */
export function guardHeap(wasm: BackendInternals['wasm']): Undo {
  // The module's loader replaces the function on its first call.
  wasm._free(wasm._malloc(8));
  const { _malloc: malloc } = wasm;
  return override(wasm, {
    _malloc(bytes) {
      // Signed, where it lies beyond 2 GiB.
      const at = bytes > MOST_HEAP ? 0 : malloc(bytes) >>> 0;
      // Lengths of 2 GiB and more are negative to what grows the heap, which then gives out what is not there.
      if ((at === 0 && bytes > 0) || at + bytes > wasm.HEAPU8.length)
        fail(
          'OUT_OF_MEMORY',
          'wasm',
          `a tensor of ${mib(bytes)} has no place in the heap, which has ${mib(wasm.HEAPU8.length)} and grows to ${mib(MOST_HEAP)}`,
          FIX,
        );
      return at;
    },
  });
}

/** What the module's own code throws in the middle of an operation, in words: memory is what it lacks there. */
export function heapError(thrown: unknown): Error | undefined {
  for (let error = thrown; error instanceof Error; error = error.cause) {
    if (error instanceof SteploomError && error.code === 'OUT_OF_MEMORY') return error === thrown ? undefined : error;
    if (error instanceof WebAssembly.RuntimeError)
      return new SteploomError(
        { code: 'OUT_OF_MEMORY', plugin: 'wasm', what: `an operation found no memory in the heap (${error.message})`, fix: FIX },
        { cause: thrown },
      );
  }
  return undefined;
}

const mib = (bytes: number): string => `${Math.ceil(bytes / 2 ** 20)} MiB`;
