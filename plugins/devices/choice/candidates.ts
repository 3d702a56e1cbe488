import { type Device, type DeviceReport, type Filling, messageOf, SteploomError } from '../../../core/index.js';
import { cpu } from '../cpu.js';
import { tfjsNode } from '../tfjs-node.js';
import { tfjsNodeGpu } from '../tfjs-node-gpu.js';
import { type WasmOptions, wasm } from '../wasm.js';
import { webgpu } from '../webgpu.js';

/** Every device, the best first. */
export const DEVICES = ['tfjs-node-gpu', 'webgpu', 'tfjs-node', 'wasm', 'cpu'] as const;
export type DeviceName = (typeof DEVICES)[number];

/** A device's plugin by its name. */
export const deviceNamed = (name: DeviceName, options: WasmOptions = {}): Filling<'DEVICE'> =>
  ({ 'tfjs-node-gpu': tfjsNodeGpu, webgpu, 'tfjs-node': tfjsNode, wasm: () => wasm(options), cpu })[name]();

/** What came of starting a device: its report, or why there is none. */
export type Attempt = { readonly report: DeviceReport } | { readonly why: string; readonly what: string; readonly fix: string };

/** Starts a device and says what came of it. */
export async function start(device: Device): Promise<Attempt> {
  try {
    return { report: await device.setUp() };
  } catch (error) {
    const { what, fix } =
      error instanceof SteploomError ? error.problems[0] : { what: messageOf(error).replace(/\.$/, ''), fix: 'See its messages.' };
    return { why: `${what}. ${fix}`, what, fix };
  }
}

/** The same by its name, outside of a run. */
export const tryDevice = (name: DeviceName, options: WasmOptions = {}): Promise<Attempt> => start(deviceNamed(name, options));

/** A software renderer drives WebGPU slower than wasm does its work. */
export const isSoftware = ({ detail }: DeviceReport) => /swiftshader|llvmpipe|software/i.test(detail);
