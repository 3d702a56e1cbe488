import { PLAIN, PLAIN_RELAXED, SHARED, SHARED_RELAXED } from './module-binary.js';

/** The functions of assembly/index.ts; addresses are in bytes. */
export interface ModuleKernels {
  pack(...numbers: number[]): void;
  product(...numbers: number[]): void;
  convolution(...numbers: number[]): void;
  filterGradient(...numbers: number[]): void;
  winogradFilter(...numbers: number[]): void;
  winograd(...numbers: number[]): void;
  attention(...numbers: number[]): void;
  attentionGrad(...numbers: number[]): void;
  groupNorm(...numbers: number[]): void;
  groupNormGrad(...numbers: number[]): void;
  layerNorm(...numbers: number[]): void;
  layerNormGrad(...numbers: number[]): void;
  layerNormGammaGrad(x: number, dy: number, stats: number, dgamma: number, rows: number, c: number): void;
  softmax(...numbers: number[]): void;
  softmaxGrad(...numbers: number[]): void;
  silu(...numbers: number[]): void;
  siluGrad(...numbers: number[]): void;
  geglu(...numbers: number[]): void;
  gegluGrad(...numbers: number[]): void;
  add(...numbers: number[]): void;
  subtract(...numbers: number[]): void;
  multiply(...numbers: number[]): void;
  divide(...numbers: number[]): void;
  copyLines(...numbers: number[]): void;
  upsample(...numbers: number[]): void;
  upsampleGrad(...numbers: number[]): void;
  pixelSum(...numbers: number[]): void;
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
export type SharedKernel = Exclude<keyof ModuleKernels, 'adamw8bit' | 'layerNormGammaGrad'>;

const bytesOf = (base64: string) => Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));

/**
 * Our module, compiled, for one kind of memory: with relaxed SIMD, which multiplies and adds in one instruction, where the engine has it. Node 20 has it behind a
 * flag, which is set for as long as this compiles.
 */
export function compiledModule(shared: boolean): WebAssembly.Module {
  const relaxed = bytesOf(shared ? SHARED_RELAXED : PLAIN_RELAXED);
  if (WebAssembly.validate(relaxed)) return new WebAssembly.Module(relaxed);
  const v8 = globalThis.process?.getBuiltinModule?.('node:v8');
  v8?.setFlagsFromString('--experimental-wasm-relaxed-simd');
  try {
    return new WebAssembly.Module(WebAssembly.validate(relaxed) ? relaxed : bytesOf(shared ? SHARED : PLAIN));
  } finally {
    v8?.setFlagsFromString('--no-experimental-wasm-relaxed-simd');
  }
}
