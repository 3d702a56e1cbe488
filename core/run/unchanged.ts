import { allToHost, assignAll, type State, trainableVariables } from '../snapshot.js';
import type { Prepared } from './prepared.js';

/** Does something with a run that has not begun, and puts the weights and the plugins' states back afterwards, bit for bit, whatever happens. */
export async function unchanged<T>({ model, members }: Prepared, work: () => Promise<T>): Promise<T> {
  const variables = trainableVariables(model);
  const weights = await allToHost(Object.fromEntries(variables));
  const states: (readonly [Parameters<typeof members.restore>[0], State])[] = [];
  for (const member of members.stateful()) states.push([member, await members.capture(member)]);
  try {
    return await work();
  } finally {
    assignAll('model', variables, weights);
    for (const [member, state] of states) await members.restore(member, state);
  }
}
