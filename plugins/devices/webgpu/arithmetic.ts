import type { TensorInfo } from '../../../core/tf.js';
import * as tf from '../../../core/tf.js';
import type { Kernel } from '../compute/kernels.js';
import type { WebGPUDevice } from './device.js';
import { isHalf } from './half.js';
import { fitsHalf } from './storage.js';
import { dispatchEach, vectorsIn } from './vectors.js';

// TensorFlow.js's sums and products, for what is stored in half precision: what they make is stored so, too.

/** How b is laid over a: whole, one row for all, one row an example, or one number. Null where in another way. */
function layout(a: readonly number[], b: readonly number[]): 'whole' | 'row' | 'rows' | 'number' | null {
  const size = tf.util.sizeFromShape([...b]);
  if (String(a) === String(b)) return 'whole';
  if (size === 1 && b.length <= a.length) return 'number';
  const c = a[a.length - 1];
  if (b[b.length - 1] !== c || b.length > a.length) return null;
  if (size === c) return 'row';
  return b.length === a.length && b[0] === a[0] && size === a[0] * c ? 'rows' : null;
}

const PLACES = { whole: 'b(i)', row: 'b(i % columns)', rows: 'b((i / perExample) * columns + i % columns)', number: 'b[0]' } as const;

/** A kernel of two tensors in either order, which `operator` combines; others than {@link layout} knows are left to the original. */
const commutative =
  (operator: '+' | '*') =>
  (original: Kernel<WebGPUDevice>): Kernel<WebGPUDevice> =>
  (call) => {
    const { inputs, device } = call;
    const given = [inputs.a, inputs.b];
    if (!given.some((one) => isHalf(device, one)) || given.some((one) => device.entryOf(one).dtype !== 'float32')) return original(call);
    const [a, b] = inputs.a.shape.length < inputs.b.shape.length ? [inputs.b, inputs.a] : given;
    return combined(device, operator, a, b) ?? combined(device, operator, b, a) ?? original(call);
  };

function combined(device: WebGPUDevice, operator: string, a: TensorInfo, b: TensorInfo): TensorInfo | null {
  const how = layout(a.shape, b.shape);
  if (how === null || !fitsHalf(a.shape) || (isHalf(device, b) && !fitsHalf(b.shape))) return null;
  const result = device.newTensor(a.shape, true);
  const columns = a.shape[a.shape.length - 1] / 4;
  const one = how === 'number';
  dispatchEach(
    device,
    {
      name: `${operator} ${how}`,
      width: 4,
      read: one ? { a } : { a, b },
      ...(one ? { numbers: { b } } : {}),
      write: { result },
      sizes: { columns, perExample: vectorsIn(a, 4) / a.shape[0] },
      body: `result(i, a(i) ${operator} ${PLACES[how]});`,
    },
    vectorsIn(a, 4),
  );
  return result;
}

export const add = commutative('+');
export const multiply = commutative('*');
