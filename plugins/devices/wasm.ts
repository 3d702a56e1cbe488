import { mostThreads } from '#wasm-start';
import { COLLECTIVE, DEVICE, type DeviceReport, type Host, type Problems, refuseInvalid } from '../../core/index.js';
import { hostMemory } from './compute/host-memory.js';
import { install } from './wasm/backend.js';
import { heapError, MOST_HEAP } from './wasm/heap.js';

export interface WasmOptions {
  /** Threads of matrix products and convolutions, 1 for the plain build; by default all cores, divided among the ranks of this machine. */
  readonly threads?: number;
  /** In a browser, the folder that @tensorflow/tfjs-backend-wasm's .wasm files are served from, with a slash at its end; by default beside the page's script. */
  readonly paths?: string;
}

/**
 * WebAssembly with SIMD and threads; in a browser with one thread. The backend is made once a process: a later run with another number of
 * threads keeps the first's.
 */
export const wasm = (options: WasmOptions = {}) => {
  let localSize = 1;
  const check = (problems: Problems): void => {
    if (options.threads !== undefined) problems.options('wasm').whole('threads', options.threads, 1);
  };
  return {
    name: 'wasm',
    fills: DEVICE,
    after: [COLLECTIVE],
    apply({ hooks, resolve }: Host) {
      ({ localSize } = resolve(COLLECTIVE));
      hooks.validate.tap(check);
    },
    inWords: heapError,
    async setUp(): Promise<DeviceReport> {
      // Outside of a run nobody has asked for it.
      refuseInvalid(check);
      const wanted = options.threads ?? Math.max(1, Math.floor(mostThreads() / localSize));
      const { threads } = await install(wanted, options.paths);
      const limits = { bytes: Math.min(MOST_HEAP, hostMemory() ?? MOST_HEAP) };
      return { name: 'wasm', detail: `SIMD, ${threads} thread${threads === 1 ? '' : 's'}`, memory: 'up to 4 GiB', limits };
    },
  };
};
