import { type Device, type DeviceReport, type Filling, type Host, messageOf, SteploomError } from '../../../core/index.js';
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

/** A device that was started, or why it was not. */
export type Attempt =
  | { readonly report: DeviceReport; readonly device: Device }
  | { readonly why: string; readonly what: string; readonly fix: string };

/** Starts one device and says what came of it; within a run it is adopted, so that it knows of its rank. */
export async function tryDevice(name: DeviceName, options: WasmOptions = {}, host?: Host): Promise<Attempt> {
  try {
    const device = deviceNamed(name, options);
    await host?.adopt(device);
    return { report: await device.setUp(), device };
  } catch (error) {
    const { what, fix } =
      error instanceof SteploomError ? error.problems[0] : { what: messageOf(error).replace(/\.$/, ''), fix: 'See its messages.' };
    return { why: `${what}. ${fix}`, what, fix };
  }
}

/** A software renderer drives WebGPU slower than wasm does its work. */
export const isSoftware = ({ detail }: DeviceReport) => /swiftshader|llvmpipe|software/i.test(detail);
