import type { Scalar } from '../../../core/tf.js';
import { type ConstantsAdamW, type FactorsAdamW, operation, type ParameterAdamW } from '../../devices/compute/contract.js';
import type { Arrays, Program } from '../../devices/compute/program.js';
import { applyUpdate } from '../../devices/compute/update.js';

/** AdamW's update (Loshchilov and Hutter 2019) over p, its gradient g, and the running means m and v. */
export const adamwProgram = ({ beta1, beta2, epsilon }: ConstantsAdamW): Program => ({
  name: `adamw ${beta1} ${beta2} ${epsilon}`,
  arrays: ['p', 'g', 'm', 'v'],
  writes: ['p', 'm', 'v'],
  factors: ['rate', 'decay', 'scale', 'correction1', 'correction2'],
  body: (a, { p, g, m, v, rate, decay, scale, correction1, correction2 }) => {
    const x = a.mul(g, scale);
    const mean = a.add(m, a.mul(a.sub(x, m), 1 - beta1));
    const square = a.add(v, a.mul(a.sub(a.mul(x, x), v), 1 - beta2));
    const direction = a.div(a.mul(mean, correction1), a.add(a.sqrt(a.mul(square, correction2)), epsilon));
    return { p: a.sub(p, a.mul(rate, a.add(direction, a.mul(decay, p)))), m: mean, v: square };
  },
});

/** One step over several parameters: by the device's AdamW if it has one, else by the program. */
export function applyAdamW(
  parameters: readonly ParameterAdamW[],
  factors: FactorsAdamW,
  finite: number | Scalar,
  constants: ConstantsAdamW,
  program: Program,
): void {
  const adamw = operation('adamw');
  if (adamw) adamw(parameters, factors, finite, constants);
  else applyUpdate(program, parameters as unknown as readonly Arrays[], { ...factors }, finite);
}
