import type { Filling } from '../../../core/index.js';
import { cpu } from '../cpu.js';
import { tfjsNode } from '../tfjs-node.js';
import { tfjsNodeGpu } from '../tfjs-node-gpu.js';
import { type WasmOptions, wasm } from '../wasm.js';
import { webgpu } from '../webgpu.js';
import { type Attempt, isSoftware, start } from './start.js';

export { type Attempt, isSoftware, start };

// Browsers have candidates.browser.ts in its place (package.json's imports).

/** Every device, the best first. */
export const DEVICES = ['tfjs-node-gpu', 'webgpu', 'tfjs-node', 'wasm', 'cpu'] as const;
export type DeviceName = (typeof DEVICES)[number];

/** A device's plugin by its name. */
export const deviceNamed = (name: DeviceName, options: WasmOptions = {}): Filling<'DEVICE'> =>
  ({ 'tfjs-node-gpu': tfjsNodeGpu, webgpu, 'tfjs-node': tfjsNode, wasm: () => wasm(options), cpu })[name]();

/** The same by its name, outside of a run. */
export const tryDevice = (name: DeviceName, options: WasmOptions = {}): Promise<Attempt> => start(deviceNamed(name, options));
