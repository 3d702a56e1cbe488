import { fail, type Model, type TensorData, type Tensors, toHost, trainablePaths } from '../../../core/index.js';
import { sumOfSquares } from '../../devices/compute/reduce.js';

/** Whether every number is finite, and so is its square: what is larger cannot be trained on, and gradients of it overflow. */
function isSound(data: ArrayLike<number>): boolean {
  for (let i = 0; i < data.length; i++) if (!Number.isFinite(Math.fround(data[i] * data[i]))) return false;
  return true;
}

const RUINED = 'not finite, or so large that their squares are not';

/** The first of some weights that holds a number which is not finite, or whose square is not; in words, and null where there is none. */
export function ruinedAmong(weights: Readonly<Record<string, TensorData>>): string | null {
  for (const [path, { dtype, data }] of Object.entries(weights))
    if (dtype === 'float32' && !isSound(data)) return `the weights of ${path} are ${RUINED}`;
  return null;
}

/** Throws NON_FINITE, with a weight's name, where weights that are about to be written are ruined: what stands in their place stays. */
export async function refuseRuined(plugin: string, weights: Tensors): Promise<void> {
  const size = sumOfSquares(weights);
  const isFine = Number.isFinite((await size.data())[0]);
  size.dispose();
  if (isFine) return;
  for (const [path, weight] of Object.entries(weights)) {
    const what = ruinedAmong({ [path]: await toHost(weight) });
    if (what)
      fail(
        'NON_FINITE',
        plugin,
        `${what}: nothing was written`,
        'Train again with a lower learning rate, from an earlier checkpoint if there is one.',
      );
  }
}

/** Of a model's weights those that are trained. */
export const trainedOf = (model: Model, weights: Tensors): Tensors =>
  Object.fromEntries(trainablePaths(model).map((path) => [path, weights[path]]));
