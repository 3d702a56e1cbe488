import * as tf from '@tensorflow/tfjs';
import { DEVICE, type DeviceReport } from '../../core/index.js';
import { install } from './cpu/backend.js';

/** TensorFlow.js's plain JavaScript backend: works everywhere, slowly. */
export const cpu = () => ({
  name: 'cpu',
  fills: DEVICE,
  async setUp(): Promise<DeviceReport> {
    await tf.setBackend('cpu');
    await tf.ready();
    install();
    return { name: 'cpu', detail: 'plain JavaScript' };
  },
});
