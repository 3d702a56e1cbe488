import type { Scalar, Tensor } from '@tensorflow/tfjs';
import * as tf from '@tensorflow/tfjs';
import { FUSED, registerLists } from '../compute/contract.js';
import { adamw8bitCode, adamw8bitTables, BLOCKS_PER_GROUP } from './adamw8bit.js';
import { constantBuffer, filled, type WebGPUBackendParts } from './backend.js';
import { buffers, dispatch, grid } from './dispatch.js';
import { isPackable, updateMany } from './many.js';
import { normals } from './normals.js';
import { partialSums, sumsOf, update } from './program.js';

const current = (): WebGPUBackendParts => tf.backend() as unknown as WebGPUBackendParts;

/** Numbers and scalars of a call in one buffer. Inside a tidy. */
function gathered(values: readonly (number | Scalar)[]): Tensor {
  const scalars = values.filter((value) => typeof value !== 'number') as Scalar[];
  const numbers = () => tf.tensor1d(values.map((value) => (typeof value === 'number' ? value : 0)));
  if (scalars.length === 0) return numbers();
  // A shader may bind only what it reads.
  const read: [string, Tensor][] = scalars.length < values.length ? [['numbers', numbers()]] : [];
  for (const [k, scalar] of scalars.entries()) read.push([`s${k}`, scalar]);
  const backend = current();
  const out = tf.engine().makeTensorFromTensorInfo(backend.makeTensorInfo([values.length], 'float32')) as Tensor;
  const which = values.map((value) => (typeof value === 'number' ? -1 : scalars.indexOf(value)));
  dispatch(backend, {
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

/** Kernels over lists of tensors. Variables keep their buffers: nothing is copied, and nothing read back. */
export const registerWebGPULists = (): void =>
  registerLists('webgpu', {
    [FUSED.program](program, list, factors, finite) {
      const backend = current();
      const { maxStorageBuffersPerShaderStage: most } = backend.device.limits;
      const isSum = program.writes.length === 0;
      const atOnce = Math.floor((most - (isSum ? 3 : 1)) / program.arrays.length);
      const sum = tf.tidy((): Scalar | [] => {
        const values = program.factors.map((name) => factors[name]);
        const wanted = isSum ? values : [...values, finite];
        const buffer = wanted.length > 0 ? gathered(wanted) : null;
        if (isSum) {
          const counts = list.map((group) => sumsOf(program, group));
          const partial = backend.makeTensorInfo([counts.reduce((a, b) => a + b, 0)], 'float32');
          const out = tf.engine().makeTensorFromTensorInfo(partial) as Tensor;
          let start = 0;
          for (let at = 0; at < list.length; at += atOnce) {
            partialSums(backend, program, list.slice(at, at + atOnce), buffer, out, start);
            for (const count of counts.slice(at, at + atOnce)) start += count;
          }
          return out.sum() as Scalar;
        }
        const many = list.filter((group) => isPackable(program, group));
        const rest = many.length > atOnce ? list.filter((group) => !isPackable(program, group)) : list;
        if (many.length > atOnce) updateMany(backend, program, many, buffer as Tensor);
        for (let at = 0; at < rest.length; at += atOnce) update(backend, program, rest.slice(at, at + atOnce), buffer as Tensor);
        return [];
      });
      return Array.isArray(sum) ? null : sum;
    },

    [FUSED.normals]: (generators, size) => normals(current(), generators, size),

    [FUSED.adamw8bit](list, factors, finite, { beta1, beta2, epsilon, bound }) {
      tf.tidy(() => {
        const { learningRate, weightDecay, scale, correction1, correction2 } = factors;
        const buffer = gathered([learningRate, weightDecay, scale, finite, correction1, correction2]);
        const backend = current();
        const tables = constantBuffer(backend, 'adamw8bit tables', () => filled(backend, adamw8bitTables()));
        for (const { p, g, m, v, absmax } of list) {
          const blocks = absmax.size / 2;
          const groups = grid(Math.ceil(blocks / BLOCKS_PER_GROUP));
          dispatch(backend, {
            name: `adamw8bit ${p.size} ${beta1} ${beta2} ${epsilon} ${bound}`,
            code: () => adamw8bitCode({ size: p.size, blocks, across: groups[0], beta1, beta2, epsilon, bound }),
            tensors: [buffer, g, p, m, v, absmax],
            integers: [m, v],
            named: true,
            shared: [tables],
            groups,
          });
        }
      });
    },
  });
