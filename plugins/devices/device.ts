import { COLLECTIVE, DEVICE, type Device, type DeviceReport, type Filling, fail, type Host, SteploomError } from '../../core/index.js';
import { cpu } from './cpu.js';
import { tfjsNode } from './tfjs-node.js';
import { tfjsNodeGpu } from './tfjs-node-gpu.js';
import { type WasmOptions, wasm } from './wasm.js';
import { webgpu } from './webgpu.js';

/** Every device, the best first. */
export const DEVICES = ['tfjs-node-gpu', 'webgpu', 'tfjs-node', 'wasm', 'cpu'] as const;
export type DeviceName = (typeof DEVICES)[number];

const make = (name: DeviceName, options: WasmOptions): Filling<'DEVICE'> =>
  ({ 'tfjs-node-gpu': tfjsNodeGpu, webgpu, 'tfjs-node': tfjsNode, wasm: () => wasm(options), cpu })[name]();

/** A device that was started, or why it was not. */
export type Attempt =
  | { readonly report: DeviceReport; readonly device: Device }
  | { readonly why: string; readonly what: string; readonly fix: string };

/** Starts one device and says what came of it. */
export async function tryDevice(name: DeviceName, options: WasmOptions = {}, host?: Host): Promise<Attempt> {
  try {
    const device = make(name, options);
    await host?.adopt(device);
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
        await host?.adopt(named);
        found = named;
        return named.setUp();
      }
      const reasons: string[] = [];
      for (const candidate of DEVICES) {
        const attempt = await tryDevice(candidate, options, host);
        if ('report' in attempt && !isSoftware(attempt.report)) {
          found = attempt.device;
          return attempt.report;
        }
        reasons.push(`${candidate}: ${'why' in attempt ? attempt.why : 'a software renderer'}`);
      }
      return fail('DEVICE_UNAVAILABLE', 'device', `no device works: ${reasons.join('; ')}`, 'Mend one of them.');
    },
  };
};
