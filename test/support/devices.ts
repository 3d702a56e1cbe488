import { existsSync } from 'node:fs';
import * as tf from '../../core/tf.js';
import { type DeviceName, tryDevice } from '../../plugins/devices/choice/candidates.js';

/** Debian's chromium ships a software Vulkan driver; WebGPU is tested on it where nothing better is named. */
const SWIFTSHADER = '/usr/lib/chromium/vk_swiftshader_icd.json';
if (!process.env.VK_DRIVER_FILES && existsSync(SWIFTSHADER)) process.env.VK_DRIVER_FILES = SWIFTSHADER;

/**
 * The devices that tests of kernels and models run on here. WebGPU is left out, in one line, where no driver is found.
 * STEPLOOM_TEST_DEVICE=tfjs-node has them run on that one alone.
 */
export async function testDevices(): Promise<DeviceName[]> {
  const named = process.env.STEPLOOM_TEST_DEVICE as DeviceName | undefined;
  if (named) return [named];
  const found = await tryDevice('webgpu');
  if ('report' in found) return ['cpu', 'wasm', 'webgpu'];
  console.log(`not tested here: webgpu (${found.why})`);
  return ['cpu', 'wasm'];
}

/** Makes a device the current one. Tests run side by side: one thread each is fastest, where threads are not what is tested. */
export async function use(name: DeviceName, threads = 1): Promise<void> {
  const found = await tryDevice(name, { threads });
  if ('why' in found) throw new Error(found.why);
}

/** The largest difference, as a share of the largest value. */
export function relativeGap(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (actual.length !== expected.length) throw new Error(`${actual.length} values, expected ${expected.length}`);
  let [gap, largest] = [0, 0];
  for (let i = 0; i < expected.length; i++) {
    const d = Math.abs(actual[i] - expected[i]);
    if (!(d <= gap)) gap = Number.isNaN(d) ? Number.POSITIVE_INFINITY : d;
    largest = Math.max(largest, Math.abs(expected[i]));
  }
  return gap / largest;
}

export { tf };
