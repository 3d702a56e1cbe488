import type { Filling } from '../../../core/index.js';
import { cpu } from '../cpu.js';
import { type WasmOptions, wasm } from '../wasm.js';
import { webgpu } from '../webgpu.js';
import { isSoftware, start } from './start.js';

export { isSoftware, start };

/** Every device of a page, the best first. */
export const DEVICES = ['webgpu', 'wasm', 'cpu'] as const;
export type DeviceName = (typeof DEVICES)[number];

/** A device's plugin by its name. */
export const deviceNamed = (name: DeviceName, options: WasmOptions = {}): Filling<'DEVICE'> =>
  ({ webgpu, wasm: () => wasm(options), cpu })[name]();
