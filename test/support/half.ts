import * as tf from '@tensorflow/tfjs';
import { deviceOf } from '../../plugins/devices/compute/installed.js';
import type { WebGPUDevice } from '../../plugins/devices/webgpu/device.js';

/** Counts how often a tensor is turned from single into half precision or back, until it is asked. */
export function countConversions(): () => number {
  const { pipelines } = deviceOf<WebGPUDevice>(tf.backend());
  let count = 0;
  pipelines.get = (key) => {
    if (/^to(Half|Full)/.test(key)) count++;
    return Map.prototype.get.call(pipelines, key);
  };
  return () => {
    Reflect.deleteProperty(pipelines, 'get');
    return count;
  };
}
