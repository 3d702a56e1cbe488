import type { TensorInfo } from '../../../core/tf.js';
import type { WasmDevice } from './device.js';

/** x [rows, c] to [c]. */
export function columnSum(device: WasmDevice, [x]: TensorInfo[]): TensorInfo[] {
  const [rows, c] = x.shape;
  const out = device.newTensor([c]);
  const data = device.view(x);
  const sums = new Float64Array(c);
  for (let row = 0, at = 0; row < rows; row++) for (let j = 0; j < c; j++, at++) sums[j] += data[at];
  device.view(out).set(sums);
  return [out];
}
