import type { Scalar } from '../../../core/tf.js';
import * as tf from '../../../core/tf.js';
import type { DeviceOperations } from '../compute/contract.js';
import { BucketReducer } from './bucket-reducer.js';
import type { WebGPUDevice } from './device.js';
import { gathered } from './factors.js';
import { statements } from './program.js';
import { TableDispatches } from './table-dispatch.js';

/** The sum of a program's `sum` over every element of every group, a scalar on the device; the caller disposes it. */
export function summer(device: WebGPUDevice): DeviceOperations['sum'] {
  const tables = new TableDispatches(device);
  return (program, list, factors) =>
    tf.tidy(() => {
      const values = program.factors.map((name) => factors[name]);
      // Each workgroup has a partial sum of its own, in the order of the list: however the tensors lie, the same bits come out.
      const first: number[] = [];
      let count = 0;
      for (const group of list) {
        first.push(count);
        count += Math.ceil(group[program.arrays[0]].size / PER_GROUP);
      }
      const out = device.trackedTensor([count]);
      tables.run(program, list, {
        what: 'sum',
        chunk: (wide) => (wide ? PER_GROUP / 4 : PER_GROUP),
        first: ['var<storage, read_write> partial: array<f32>', ...(values.length > 0 ? ['var<storage, read> factors: array<f32>'] : [])],
        tensors: [out, ...(values.length > 0 ? [gathered(device, values)] : [])],
        extra: (k, chunk) => first[k] + chunk,
        declarations: 'var<workgroup> scratch: array<f32, 256>;',
        body({ wide, element }) {
          const { lines, results } = statements(program, element, wide);
          return `var sum = ${wide ? 'vec4f(0f)' : '0f'};
  for (var i = start + local; i < end; i += 256u) {
    ${[...lines, `sum += ${results[0].value};`].join('\n    ')}
  }
  scratch[local] = ${wide ? 'dot(sum, vec4f(1f))' : 'sum'};
  workgroupBarrier();
  for (var width = 128u; width > 0u; width /= 2u) {
    if (local < width) { scratch[local] += scratch[local + width]; }
    workgroupBarrier();
  }
  if (local == 0u) { partial[extra] = scratch[0]; }`;
        },
      });
      return out.sum() as Scalar;
    });
}

/** Adds up tensors over ranks, bucket by bucket, while the device computes. */
export const reducer =
  (device: WebGPUDevice): DeviceOperations['reducer'] =>
  (collective, options) =>
    new BucketReducer(device, collective, options);

/** Elements that one workgroup of a sum adds up. */
const PER_GROUP = 256 * 64;
