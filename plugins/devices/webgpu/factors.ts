import type { Scalar, Tensor } from '../../../core/tf.js';
import * as tf from '../../../core/tf.js';
import type { WebGPUDevice } from './device.js';
import { buffers, dispatch } from './dispatch.js';

/** Numbers and scalars of a call in one buffer. Inside a tidy. */
export function gathered(device: WebGPUDevice, values: readonly (number | Scalar)[]): Tensor {
  const scalars = values.filter((value) => typeof value !== 'number') as Scalar[];
  const numbers = () => tf.tensor1d(values.map((value) => (typeof value === 'number' ? value : 0)));
  if (scalars.length === 0) return numbers();
  // A shader may bind only what it reads.
  const read: [string, Tensor][] = scalars.length < values.length ? [['numbers', numbers()]] : [];
  for (const [k, scalar] of scalars.entries()) read.push([`s${k}`, scalar]);
  const out = device.trackedTensor([values.length]);
  const which = values.map((value) => (typeof value === 'number' ? -1 : scalars.indexOf(value)));
  dispatch(device, {
    name: `gather ${which}`,
    named: true,
    code: () => `${buffers(
      read.map(([name]) => name),
      ['to'],
    )}
@compute @workgroup_size(1) fn main() {
${which.map((k, i) => `  to[${i}] = ${k < 0 ? `numbers[${i}]` : `s${k}[0]`};`).join('\n')}
}`,
    tensors: [...read.map(([, tensor]) => tensor), out],
    groups: [1],
  });
  return out;
}
