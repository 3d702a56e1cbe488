import { PLAIN, PLAIN_RELAXED, SHARED, SHARED_RELAXED } from './module-binary.js';

/** The functions of assembly/index.ts; addresses are in bytes. */
export interface ModuleKernels {
  pack(...numbers: number[]): void;
  product(...numbers: number[]): void;
  convolution(...numbers: number[]): void;
  filterGradient(...numbers: number[]): void;
  winogradFilter(...numbers: number[]): void;
  winograd(...numbers: number[]): void;
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

/** Those that threads share: see WasmDevice.overBlocks. */
export type SharedKernel = 'pack' | 'product' | 'convolution' | 'filterGradient' | 'winogradFilter' | 'winograd';

const bytesOf = (base64: string) => Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));

/**
 * Our module, compiled, for one kind of memory: with relaxed SIMD, which multiplies and adds in one instruction, where the engine has it. Node 20 has it behind a
 * flag, which is set before.
 */
export function compiledModule(shared: boolean): WebAssembly.Module {
  const relaxed = bytesOf(shared ? SHARED_RELAXED : PLAIN_RELAXED);
  if (!WebAssembly.validate(relaxed))
    globalThis.process?.getBuiltinModule?.('node:v8').setFlagsFromString('--experimental-wasm-relaxed-simd');
  return new WebAssembly.Module(WebAssembly.validate(relaxed) ? relaxed : bytesOf(shared ? SHARED : PLAIN));
}
