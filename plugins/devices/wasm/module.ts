import { PLAIN, SHARED } from './module-binary.js';

/** The functions of assembly/index.ts; addresses are in bytes. */
export interface ModuleKernels {
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

/** Our module, compiled, for one kind of memory. */
export const moduleBytes = (shared: boolean): Uint8Array =>
  Uint8Array.from(atob(shared ? SHARED : PLAIN), (letter) => letter.charCodeAt(0));

/** Our module, working in a memory. */
export function instantiate(memory: WebAssembly.Memory, shared: boolean): ModuleKernels {
  const module = new WebAssembly.Module(moduleBytes(shared) as BufferSource);
  return new WebAssembly.Instance(module, { env: { memory } }).exports as unknown as ModuleKernels;
}
