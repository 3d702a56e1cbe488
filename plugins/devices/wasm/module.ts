import type { WasmBackendParts } from './backend.js';
import { PLAIN, SHARED } from './module-binary.js';

/** The functions of assembly/index.ts; addresses are in bytes. */
export interface Kernels {
  multiply(
    a: number,
    b: number,
    c: number,
    batch: number,
    m: number,
    k: number,
    n: number,
    aRow: number,
    aColumn: number,
    aBatch: number,
    bBatch: number,
  ): void;
  filterGradient(
    x: number,
    dy: number,
    dw: number,
    ...sizes: [
      n: number,
      ih: number,
      iw: number,
      ci: number,
      oh: number,
      ow: number,
      co: number,
      kh: number,
      kw: number,
      sh: number,
      sw: number,
      top: number,
      left: number,
    ]
  ): void;
  columnSums(x: number, pixels: number, c: number, sums: number): void;
  columnSquares(x: number, mean: number, pixels: number, c: number, sums: number): void;
  scaleShift(x: number, factor: number, addend: number, out: number, pixels: number, c: number): void;
  gradientSums(g: number, x: number, mean: number, pixels: number, c: number, sumG: number, sumGX: number): void;
  combine(g: number, x: number, k1: number, k2: number, k3: number, pixels: number, c: number): void;
  silu(x: number, out: number, count: number): void;
  siluGrad(z: number, dy: number, out: number, count: number): void;
  geglu(x: number, out: number, rows: number, c: number): void;
  gegluGrad(x: number, dy: number, dx: number, rows: number, c: number): void;
  softmax(x: number, out: number, rows: number, c: number, scale: number): void;
  adamw8bit(
    p: number,
    g: number,
    m: number,
    v: number,
    absmax: number,
    size: number,
    from: number,
    to: number,
    tables: number,
    room: number,
    ...factors: [
      learningRate: number,
      weightDecay: number,
      scale: number,
      correction1: number,
      correction2: number,
      beta1: number,
      k1: number,
      beta2: number,
      k2: number,
      epsilon: number,
      bound: number,
    ]
  ): void;
}

const instances = new WeakMap<WasmBackendParts, Kernels>();

/** Whether the backend runs threads, whose memory is shared. */
export const isShared = (backend: WasmBackendParts): boolean =>
  typeof SharedArrayBuffer !== 'undefined' && backend.wasm.HEAPU8.buffer instanceof SharedArrayBuffer;

/** The backend's own memory. */
export function memoryOf(backend: WasmBackendParts): WebAssembly.Memory {
  const memory = backend.wasm.wasmMemory ?? backend.wasm.asm?.memory;
  if (!memory) throw new Error('this version of @tensorflow/tfjs-backend-wasm keeps its memory where steploom does not find it');
  return memory;
}

/** Our module, compiled, for one kind of memory. */
export const moduleBytes = (shared: boolean): Uint8Array =>
  Uint8Array.from(atob(shared ? SHARED : PLAIN), (letter) => letter.charCodeAt(0));

/** Our module, working in the backend's own memory. */
export function kernelsOf(backend: WasmBackendParts): Kernels {
  let found = instances.get(backend);
  if (!found) {
    const bytes = moduleBytes(isShared(backend)) as BufferSource;
    const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory: memoryOf(backend) } });
    found = instance.exports as unknown as Kernels;
    instances.set(backend, found);
  }
  return found;
}
