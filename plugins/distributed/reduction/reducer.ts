import type { Collective } from '../../../core/index.js';
import * as tf from '../../../core/tf.js';
import { operation } from '../../devices/compute/contract.js';
import type { ReduceOptions, Reducer } from '../../devices/compute/reduction.js';

/** A reducer for the current device: the one that it has, or one that goes through the host's arrays. */
export const reducer = (collective: Collective, options: ReduceOptions = {}): Reducer =>
  operation('reducer')?.(collective, options) ?? throughHost(collective, options);

/** For devices whose memory is not to be reached. */
const throughHost = (collective: Collective, options: ReduceOptions): Reducer => ({
  offer: () => undefined,
  async reduce(tensors, numbers) {
    const entries = Object.entries(tensors);
    const arrays = await Promise.all(entries.map(async ([, tensor]) => (await tensor.data()).slice() as Float32Array));
    await collective.allReduce(options.half ? arrays : [numbers, ...arrays], options);
    if (options.half) await collective.allReduce([numbers]);
    return Object.fromEntries(
      entries.map(([path, tensor], i) => {
        const { shape } = tensor;
        tensor.dispose();
        return [path, tf.tensor(arrays[i], shape)];
      }),
    );
  },
  dispose: () => undefined,
});
