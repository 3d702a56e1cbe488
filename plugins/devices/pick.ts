import { COLLECTIVE, DEVICE, type Device, type DeviceReport, type Filling, fail, type Host, SteploomError } from '../../core/index.js';
import { cpu } from './cpu.js';
import { tfjsNode, tfjsNodeGpu } from './tfjs-node.js';
import { type WasmOptions, wasm } from './wasm.js';
import { webgpu } from './webgpu.js';

export const DEVICES = ['tfjs-node-gpu', 'webgpu', 'tfjs-node', 'wasm', 'cpu'] as const;
export type DeviceName = (typeof DEVICES)[number];

type Made = Device & { apply?(host: Host): void };

const make = (name: DeviceName, options: WasmOptions): Made =>
  ({ 'tfjs-node-gpu': tfjsNodeGpu, webgpu, 'tfjs-node': tfjsNode, wasm: () => wasm(options), cpu })[name]();

/** Starts one device and says what came of it. */
export async function tryDevice(
  name: DeviceName,
  options: WasmOptions = {},
  host?: Host,
): Promise<{ report: DeviceReport; device: Device } | { why: string; what: string; fix: string }> {
  try {
    const device = make(name, options);
    if (host) device.apply?.(host);
    return { report: await device.setUp(), device };
  } catch (error) {
    const { what, fix } =
      error instanceof SteploomError ? error.problems[0] : { what: (error as Error).message.replace(/\.$/, ''), fix: 'See its messages.' };
    return { why: `${what}. ${fix}`, what, fix };
  }
}

/** A software renderer drives WebGPU slower than wasm does its work. */
export const isSoftware = ({ detail }: DeviceReport) => /swiftshader|llvmpipe|software/i.test(detail);

/** The device of that name, or with 'auto' the best that works: GPUs first, then TensorFlow, wasm, cpu. */
export const device = (name: DeviceName | 'auto' = 'auto', options: WasmOptions = {}): Filling<'DEVICE'> => {
  let host: Host | undefined;
  let found: Device | undefined;
  return {
    name: 'device',
    fills: DEVICE,
    after: [COLLECTIVE],
    apply(given: Host) {
      host = given;
    },
    get upload() {
      return found?.upload;
    },
    async setUp(): Promise<DeviceReport> {
      if (name !== 'auto') {
        const named = make(name, options);
        if (host) named.apply?.(host);
        found = named;
        return named.setUp();
      }
      const reasons: string[] = [];
      for (const candidate of DEVICES) {
        const result = await tryDevice(candidate, options, host);
        if ('report' in result && !isSoftware(result.report)) {
          found = result.device;
          return result.report;
        }
        reasons.push(`${candidate}: ${'why' in result ? result.why : 'a software renderer'}`);
      }
      return fail('DEVICE_UNAVAILABLE', 'device', `no device works: ${reasons.join('; ')}`, 'Mend one of them.');
    },
  };
};
