import { DEVICE, type DeviceReport } from '../../core/index.js';
import { hostMemory } from './compute/host-memory.js';
import { install } from './cpu/backend.js';

/** TensorFlow.js's plain JavaScript backend: works everywhere, slowly. */
export const cpu = () => ({
  name: 'cpu',
  fills: DEVICE,
  async setUp(): Promise<DeviceReport> {
    await install();
    const bytes = hostMemory();
    return { name: 'cpu', detail: 'plain JavaScript', ...(bytes === undefined ? {} : { limits: { bytes } }) };
  },
});
