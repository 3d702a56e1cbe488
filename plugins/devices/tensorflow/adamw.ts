import type { Scalar } from '../../../core/tf.js';
import * as tf from '../../../core/tf.js';
import type { DeviceOperations } from '../compute/contract.js';
import { currentBackend } from './internals.js';
import type { Resources } from './resources.js';

/**
 * AdamW by TensorFlow's ResourceApplyAdam, in place. It computes rate sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v) + epsilon'), which is AdamW's
 * direction with epsilon' = epsilon sqrt(1 - beta2^t); the decay is subtracted before. A step that is not applied has betas of 1 and
 * rates of 0.
 */
export const adamw =
  (resources: Resources): DeviceOperations['adamw'] =>
  (list, { rate, decay, scale, correction1, correction2 }, finite, { beta1, beta2, epsilon }) => {
    const backend = currentBackend();
    const { binding } = backend;
    const type = { name: 'T', type: binding.TF_ATTR_TYPE, value: binding.TF_FLOAT };
    const no = (name: string) => ({ name, type: binding.TF_ATTR_BOOL, value: false });
    const adam = [type, no('use_locking'), no('use_nesterov')];
    const dtype = [{ ...type, name: 'dtype' }];
    tf.tidy(() => {
      const applied = typeof finite === 'number' ? tf.scalar(finite) : finite;
      const isApplied = applied.greater(0);
      // Before the first step that is applied the corrections are 0.
      const power = (correction: Scalar) => tf.where(isApplied, tf.sub(1, tf.div(1, correction)), 0);
      const betas = [beta1, beta2].map((beta) => tf.sub(1, applied.mul(1 - beta)));
      const small = tf.where(isApplied, tf.rsqrt(correction2), 1).mul(epsilon);
      const scalars = [power(correction1), power(correction2), applied.mul(rate), ...betas, small];
      const constants = backend.getInputTensorIds(scalars);
      const scaled = tf.where(isApplied, scale, 0);
      const [factor, share] = backend.getInputTensorIds([scaled, applied.mul(rate * decay)]);
      for (const { p, g, m, v } of list) {
        const [toP, toG] = backend.getInputTensorIds([p, g]);
        // 0 where the factor is, whatever the gradient holds.
        const [{ id: gradient }] = binding.executeOp('MulNoNan', [type], [toG, factor], 1);
        const lost = decay === 0 ? null : binding.executeOp('Mul', [type], [toP, share], 1)[0].id;
        const handles = [p, m, v].map((variable) => resources.take(variable));
        if (lost !== null) {
          binding.executeOp('AssignSubVariableOp', dtype, [handles[0], lost], 0);
          binding.deleteTensor(lost);
        }
        binding.executeOp('ResourceApplyAdam', adam, [...handles, ...constants, gradient], 0);
        binding.deleteTensor(gradient);
        for (const [k, variable] of [p, m, v].entries()) resources.give(variable, handles[k]);
      }
    });
  };
