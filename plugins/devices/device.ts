import { COLLECTIVE, DEVICE, type Device, type DeviceReport, type Filling, fail, type Host } from '../../core/index.js';
import { DEVICES, type DeviceName, deviceNamed, isSoftware, start } from './choice/candidates.js';
import type { WasmOptions } from './wasm.js';

export type { DeviceName } from './choice/candidates.js';

/** The device of that name, or with 'auto' the best that works: GPUs first, then TensorFlow, wasm, cpu. */
export const device = (name: DeviceName | 'auto' = 'auto', options: WasmOptions = {}): Filling<'DEVICE'> => {
  const candidates = DEVICES.filter((one) => name === 'auto' || one === name).map((one) => deviceNamed(one, options));
  let found: Device | undefined;
  return {
    name: 'device',
    fills: DEVICE,
    after: [COLLECTIVE],
    async apply(host: Host) {
      // Before one is chosen: each looks at its options, and knows of its rank.
      for (const candidate of candidates) await host.adopt(candidate);
      host.hooks.validate.tap((problems) => {
        problems.options('device').oneOf('the device', name, ['auto', ...DEVICES]);
      });
    },
    get upload() {
      return found?.upload;
    },
    inWords: (thrown) => found?.inWords?.(thrown),
    async setUp(): Promise<DeviceReport> {
      if (candidates.length === 1) {
        found = candidates[0];
        return candidates[0].setUp();
      }
      const reasons: string[] = [];
      for (const candidate of candidates) {
        const attempt = await start(candidate);
        if ('report' in attempt && !isSoftware(attempt.report)) {
          found = candidate;
          return attempt.report;
        }
        reasons.push(`${candidate.name}: ${'why' in attempt ? attempt.why : 'a software renderer'}`);
      }
      return fail('DEVICE_UNAVAILABLE', 'device', `no device works: ${reasons.join('; ')}`, 'Repair one of them.');
    },
  };
};
