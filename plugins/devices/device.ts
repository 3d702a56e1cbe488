import { COLLECTIVE, DEVICE, type Device, type DeviceReport, type Filling, fail, type Host } from '../../core/index.js';
import { DEVICES, type DeviceName, deviceNamed, isSoftware, tryDevice } from './choice/candidates.js';
import { checkThreads, type WasmOptions } from './wasm.js';

export type { DeviceName } from './choice/candidates.js';

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
      given.hooks.validate.tap((problems) => checkThreads('device', options, problems));
    },
    get upload() {
      return found?.upload;
    },
    async setUp(): Promise<DeviceReport> {
      if (name !== 'auto') {
        const named = deviceNamed(name, options);
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
      return fail('DEVICE_UNAVAILABLE', 'device', `no device works: ${reasons.join('; ')}`, 'Repair one of them.');
    },
  };
};
