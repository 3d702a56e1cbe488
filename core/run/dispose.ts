import type { Source } from '../data.js';
import { attachLater } from '../errors.js';
import type { Model } from '../model.js';
import type { Hooks } from '../plugin/hooks.js';
import type { Members } from './members.js';

/** What there is to free of a run, set up wholly or in part. */
export interface RunParts {
  readonly hooks: Hooks;
  readonly members: Members;
  readonly source: Source | null;
  readonly model: Model | null;
}

/**
 * Frees a run: plugins in reverse order, then the data set, then the model. Every one gets its turn; the first error is thrown at the
 * end, with those that came after attached to it.
 */
export async function disposeRun({ hooks, members, source, model }: RunParts, before: readonly (() => unknown)[] = []): Promise<void> {
  const errors: unknown[] = [];
  const steps = [
    ...before,
    () => hooks.onDispose.promise(),
    ...members.disposals().map((plugin) => () => plugin.dispose?.()),
    () => source?.dispose?.(),
    () => model?.dispose?.(),
  ];
  for (const step of steps)
    try {
      await step();
    } catch (error) {
      errors.push(error);
    }
  for (const { variable, borrowed } of model?.parameters.values() ?? []) if (!borrowed && !variable.isDisposed) variable.dispose();
  if (errors.length > 0) throw errors.reduce(attachLater);
}
