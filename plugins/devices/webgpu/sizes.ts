import type { WebGPUDevice } from './device.js';

// Numbers that a shader reads, u32 each, in place of constants in its text: there is one pipeline for all of them.

/** How a shader declares its sizes as the binding of that number. */
export const sizesBinding = (binding: number): string => `@group(0) @binding(${binding}) var<storage, read> sizes: array<u32>;`;

/** The statement by which it has them by name. */
export const namedSizes = (names: readonly string[]): string => names.map((name, i) => `let ${name} = sizes[${i}];`).join(' ');

/** The buffer with these numbers, made once: to be bound after the tensors ({@link Dispatch.shared}). */
export const sizesBuffer = (device: WebGPUDevice, numbers: readonly number[]): GPUBuffer =>
  device.constantBuffer(`sizes ${numbers}`, () => device.filledBuffer(Uint32Array.from(numbers)));
