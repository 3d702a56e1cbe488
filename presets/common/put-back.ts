import { allToHost, assignAll, type Host } from '../../core/index.js';
import type { Variable } from '../../core/tf.js';

/** Puts weights that outlive the run, since they are the caller's, back as they were before it, bit for bit: for a run that only tries whether everything works. */
export const putBack = () => ({
  name: 'put-back',
  apply({ hooks }: Host) {
    let restore: () => void = () => undefined;
    // Before a snapshot is restored, or rank 0's weights are shared out.
    hooks.prepareModel.tapPromise(async (model) => {
      const lent = new Map<string, Variable>();
      for (const [path, { variable, borrowed }] of model.parameters) if (borrowed) lent.set(path, variable);
      const values = await allToHost(Object.fromEntries(lent));
      restore = () => assignAll('put-back', lent, values);
      return model;
    });
    hooks.onDispose.tap(() => restore());
  },
});
