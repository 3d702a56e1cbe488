import { DEVICES, type DeviceName, deviceNamed, isSoftware, start } from '#candidates';
import { COLLECTIVE, DEVICE, type Device, type DeviceReport, type Filling, fail, type Host } from '../../core/index.js';
import type { WasmOptions } from './wasm.js';

export type { DeviceName } from '#candidates';

export interface DeviceOptions extends WasmOptions {
  /** The most of the device's memory that a run may take, in GiB: one whose steps need more does not begin. What the device says itself, by default. */
  readonly memory?: number;
}

/** The device of that name, or with 'auto' the best that works: GPUs first, then TensorFlow, wasm, cpu. */
export const device = (name: DeviceName | 'auto' = 'auto', { memory, ...options }: DeviceOptions = {}): Filling<'DEVICE'> => {
  const candidates = DEVICES.filter((one) => name === 'auto' || one === name).map((one) => deviceNamed(one, options));
  let found: Device | undefined;
  const limited = (report: DeviceReport): DeviceReport => {
    if (memory === undefined) return report;
    const bytes = Math.min(memory * 2 ** 30, report.limits?.bytes ?? Number.POSITIVE_INFINITY);
    return { ...report, limits: { ...report.limits, bytes } };
  };
  return {
    name: 'device',
    fills: DEVICE,
    after: [COLLECTIVE],
    async apply(host: Host) {
      // Before one is chosen: each looks at its options, and knows of its rank.
      for (const candidate of candidates) await host.adopt(candidate);
      host.hooks.validate.tap((problems) => {
        const check = problems.options('device');
        check.oneOf('the device', name, ['auto', ...DEVICES]);
        if (memory !== undefined) check.positive('memory', memory);
      });
    },
    get upload() {
      return found?.upload;
    },
    get release() {
      return found?.release;
    },
    get rehearse() {
      return found?.rehearse;
    },
    inWords: (thrown) => found?.inWords?.(thrown),
    async setUp(): Promise<DeviceReport> {
      if (candidates.length === 1) {
        found = candidates[0];
        return limited(await candidates[0].setUp());
      }
      const reasons: string[] = [];
      for (const candidate of candidates) {
        const attempt = await start(candidate);
        if ('report' in attempt && !isSoftware(attempt.report)) {
          found = candidate;
          return limited(attempt.report);
        }
        reasons.push(`${candidate.name}: ${'why' in attempt ? attempt.why : 'a software renderer'}`);
      }
      return fail('DEVICE_UNAVAILABLE', 'device', `no device works: ${reasons.join('; ')}`, 'Repair one of them.');
    },
  };
};
