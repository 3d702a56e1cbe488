import { type Device, type DeviceReport, messageOf, SteploomError } from '../../../core/index.js';

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

/** A software renderer drives WebGPU slower than wasm does its work. */
export const isSoftware = ({ detail }: DeviceReport) => /swiftshader|llvmpipe|software/i.test(detail);
