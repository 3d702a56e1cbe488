import { engineInternals, type Recorded, type TapeNode } from './engine.js';
import type { Model, Wrap } from './model.js';
import type { Tensor } from './tf.js';
import * as tf from './tf.js';
import { releaseSaved } from './walk-back.js';

/** Computes on a tape of its own, whatever tape there is. */
export function recordApart(compute: () => Tensor): Recorded {
  const { state } = engineInternals();
  const { activeTape, gradientDepth, kernelDepth } = state;
  const tape: TapeNode[] = [];
  Object.assign(state, { activeTape: tape, gradientDepth: 1, kernelDepth: 0 });
  try {
    return { result: compute(), tape };
  } catch (error) {
    for (const node of tape) releaseSaved(node);
    throw error;
  } finally {
    Object.assign(state, { activeTape, gradientDepth, kernelDepth });
  }
}

/**
 * What `compute` makes of `inputs`, of which only these are kept for the way back: there it is computed again, operation by operation (Chen et al.
 * 2016, "Training deep nets with sublinear memory cost"), and its gradients are those of a plain call bit for bit. `compute` gives the same each time,
 * and uses no tensors but inputs and weights. On no tape it is a plain call.
 */
export function recomputed(inputs: readonly Tensor[], compute: (inputs: Tensor[]) => Tensor): Tensor {
  const engine = engineInternals();
  const { activeTape, gradientDepth, kernelDepth } = engine.state;
  if (!activeTape || gradientDepth === 0 || kernelDepth > 0) return compute([...inputs]);
  const { kept, again: once } = computedAgain(inputs, compute);
  engine.startScope('recomputed');
  const results: Tensor[] = [];
  try {
    const { result, tape } = once();
    for (const node of tape) releaseSaved(node);
    // It may be one of the inputs: the way back begins at a tensor of its own.
    const output = withoutTape(() => result.clone());
    results.push(output);
    const used = new Map([...inputs, ...tape.flatMap((node) => Object.values(node.inputs))].map((input) => [input.id, input]));
    for (const node of tape) for (const { id } of node.outputs) used.delete(id);
    const named = Object.fromEntries([...used.values()].map((input) => [String(input.id), input]));
    activeTape.push({ kernelName: 'Recomputed', inputs: named, outputs: [output], saved: kept, again: once });
    return output;
  } catch (error) {
    for (const clone of kept) clone.dispose();
    throw error;
  } finally {
    engine.endScope(results);
  }
}

/** Clones of the inputs that are to be kept for the way back, and what computes again from them there. */
export function computedAgain(
  inputs: readonly Tensor[],
  compute: (inputs: Tensor[]) => Tensor,
): { readonly kept: Tensor[]; readonly again: () => Recorded } {
  // What the caller frees when it has gone on stays readable; clones share its values.
  const kept = withoutTape(() => inputs.map((input) => tf.keep(input.clone())));
  const given = new Map(kept.map((clone, i) => [clone.id, inputs[i]]));
  const again = () =>
    renamed(
      recordApart(() => compute([...kept])),
      given,
    );
  return { kept, again };
}

/** With the inputs themselves in place of their clones, so that gradients find their way; in parts of parts, too. */
function renamed({ result, tape }: Recorded, given: ReadonlyMap<number, Tensor>): Recorded {
  for (const node of tape) {
    for (const [name, input] of Object.entries(node.inputs)) node.inputs[name] = given.get(input.id) ?? input;
    const { again: inner } = node;
    if (inner) node.again = () => renamed(inner(), given);
  }
  return { result: given.get(result.id) ?? result, tape };
}

/** Computes while nothing is recorded. */
export function withoutTape<T>(compute: () => T): T {
  const { state } = engineInternals();
  const { activeTape, gradientDepth } = state;
  Object.assign(state, { activeTape: null, gradientDepth: 0 });
  try {
    return compute();
  } finally {
    Object.assign(state, { activeTape, gradientDepth });
  }
}

const again: Wrap = (_, inputs, next) => recomputed(inputs, next);

/** A model of which only the inputs of its blocks are kept for the way back. Weights and adapters are the same. */
export function withRecomputedBlocks<M extends Model>(model: M): M {
  const wraps = new Map(model.wraps);
  for (const path of model.blocks ?? []) wraps.set(path, [...(wraps.get(path) ?? []), again]);
  return { ...model, wraps };
}
