import type { Scalar, Tensor } from '@tensorflow/tfjs';
import * as tf from '@tensorflow/tfjs';
import type { DeviceOperations } from '../compute/contract.js';
import { currentBackend, type TensorFlowBackend } from './internals.js';

/** A resource of TensorFlow's that holds a variable's memory, and the data it was last seen with. */
interface Resource {
  readonly handle: number;
  dataId: object;
}

const resources = new WeakMap<Tensor, Resource>();
const finalizer = new FinalizationRegistry<() => void>((free) => free());
let made = 0;

/**
 * Tensors that TensorFlow's in-place operations may write. Such an operation copies what others still hold, so `take` lets go
 * of the variable's own view and `give` makes a new one; both move no memory.
 */
function inPlace(backend: TensorFlowBackend) {
  const { binding } = backend;
  const dtype = [{ name: 'dtype', type: binding.TF_ATTR_TYPE, value: binding.TF_FLOAT }];
  const text = (name: string, value: string) => ({ name, type: binding.TF_ATTR_STRING, value });
  return {
    take(variable: Tensor): number {
      const [id] = backend.getInputTensorIds([variable]);
      let resource = resources.get(variable);
      if (!resource) {
        const shape = { name: 'shape', type: binding.TF_ATTR_SHAPE, value: variable.shape };
        const names = [text('container', ''), text('shared_name', `steploom-${++made}`)];
        const [{ id: handle }] = binding.executeOp('VarHandleOp', [...dtype, shape, ...names], [], 1);
        resource = { handle, dataId: {} };
        resources.set(variable, resource);
        finalizer.register(variable, () => binding.deleteTensor(handle));
      }
      // Assigned from outside (a restored snapshot, say): the resource takes that memory over.
      if (resource.dataId !== variable.dataId) {
        binding.executeOp('AssignVariableOp', dtype, [resource.handle, id], 0);
        resource.dataId = variable.dataId;
      }
      binding.deleteTensor(id);
      return resource.handle;
    },
    give(variable: Tensor, handle: number): void {
      const [{ id }] = binding.executeOp('ReadVariableOp', dtype, [handle], 1);
      backend.tensorMap.get(variable.dataId).id = id;
    },
  };
}

/**
 * ResourceApplyAdam computes rate sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v) + epsilon'), which is AdamW's direction with
 * epsilon' = epsilon sqrt(1 - beta2^t); the decay is subtracted before. A step that is not applied has betas of 1 and rates of 0.
 */
export const adamw: DeviceOperations['adamw'] = (
  list,
  { rate, decay, scale, correction1, correction2 },
  finite,
  { beta1, beta2, epsilon },
) => {
  const backend = currentBackend();
  const { binding } = backend;
  const { take, give } = inPlace(backend);
  const type = { name: 'T', type: binding.TF_ATTR_TYPE, value: binding.TF_FLOAT };
  const no = (name: string) => ({ name, type: binding.TF_ATTR_BOOL, value: false });
  const adam = [type, no('use_locking'), no('use_nesterov')];
  const dtype = [{ ...type, name: 'dtype' }];
  const only = [type];
  tf.tidy(() => {
    const applied = typeof finite === 'number' ? tf.scalar(finite) : finite;
    const power = (correction: Scalar) => tf.sub(1, tf.div(1, correction)).mul(applied);
    const betas = [beta1, beta2].map((beta) => tf.sub(1, applied.mul(1 - beta)));
    const small = tf.rsqrt(correction2).mul(epsilon);
    const scalars = [power(correction1), power(correction2), applied.mul(rate), ...betas, small];
    const constants = backend.getInputTensorIds(scalars);
    const scaled = tf.where(applied.greater(0), scale, 0);
    const [factor, share] = backend.getInputTensorIds([scaled, applied.mul(rate * decay)]);
    for (const { p, g, m, v } of list) {
      const [toP, toG] = backend.getInputTensorIds([p, g]);
      // 0 where the factor is, whatever the gradient holds.
      const [{ id: gradient }] = binding.executeOp('MulNoNan', only, [toG, factor], 1);
      const lost = decay === 0 ? null : binding.executeOp('Mul', only, [toP, share], 1)[0].id;
      const handles = [p, m, v].map(take);
      if (lost !== null) {
        binding.executeOp('AssignSubVariableOp', dtype, [handles[0], lost], 0);
        binding.deleteTensor(lost);
      }
      binding.executeOp('ResourceApplyAdam', adam, [...handles, ...constants, gradient], 0);
      binding.deleteTensor(gradient);
      for (const [k, variable] of [p, m, v].entries()) give(variable, handles[k]);
    }
  });
};
