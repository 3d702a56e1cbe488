import { DEVICE, type DeviceReport } from '../../core/index.js';
import { install } from './cpu/backend.js';

/** TensorFlow.js's plain JavaScript backend: works everywhere, slowly. */
export const cpu = () => ({
  name: 'cpu',
  fills: DEVICE,
  async setUp(): Promise<DeviceReport> {
    await install();
    return { name: 'cpu', detail: 'plain JavaScript' };
  },
});
