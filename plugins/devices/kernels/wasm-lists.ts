import type { TensorInfo } from '@tensorflow/tfjs';
import * as tf from '@tensorflow/tfjs';
import { FUSED, registerLists } from './names.js';
import { forgetPacked, view, type WasmBackendParts } from './wasm-heap.js';

const current = (): WasmBackendParts => tf.backend() as unknown as WasmBackendParts;

/** In-place kernels of optimizers and averages over the wasm heap. */
export const registerWasmLists = (): void =>
  registerLists('wasm', {
    [FUSED.adamw]({ parameters, factors, beta1, beta2, epsilon }) {
      const backend = current();
      const [rate, decay, scale, finite, correction1, correction2] = view(backend, factors);
      if (finite === 0) return;
      for (const { p, g, m, v } of parameters) {
        const [weight, gradient, first, second] = [p, g, m, v].map((t: TensorInfo) => view(backend, t));
        for (let i = 0; i < weight.length; i++) {
          const x = gradient[i] * scale;
          const m1 = first[i] + (x - first[i]) * (1 - beta1);
          const v1 = second[i] + (x * x - second[i]) * (1 - beta2);
          first[i] = m1;
          second[i] = v1;
          weight[i] -= rate * (m1 / correction1 / (Math.sqrt(v1 / correction2) + epsilon) + decay * weight[i]);
        }
        forgetPacked(backend, p);
      }
    },

    [FUSED.sumSquares](tensors) {
      const backend = current();
      let total = 0;
      for (const tensor of tensors) {
        const data = view(backend, tensor);
        let sum = 0;
        for (let i = 0; i < data.length; i++) sum += data[i] * data[i];
        total += sum;
      }
      return tf.scalar(total);
    },

    [FUSED.lerp](pairs, weight) {
      const backend = current();
      for (const { a, b } of pairs) {
        const [into, from] = [view(backend, a), view(backend, b)];
        for (let i = 0; i < into.length; i++) into[i] += (from[i] - into[i]) * weight;
        forgetPacked(backend, a);
      }
    },
  });
