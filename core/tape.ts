import { engineInternals, type TapeNode } from './engine.js';
import type { Tensors } from './model.js';
import { trainedOn } from './replayed.js';
import type { Scalar, Tensor } from './tf.js';
import * as tf from './tf.js';
import { dependent, releaseSaved, walkBack } from './walk-back.js';

/**
 * One differentiable operation, a single node on the tape. `forward` computes it and saves what its gradient needs; `gradient` gives a function
 * for each input, of which only those that are asked for are called. What is saved is still there then whoever disposes it; variables, which nobody disposes
 * meanwhile, are handed on as they are.
 */
export function differentiable(
  inputs: Tensors,
  forward: (save: (tensors: Tensor[]) => void) => Tensor,
  gradient: (dy: Tensor, saved: Tensor[]) => Record<string, () => Tensor>,
): Tensor {
  let all: readonly Tensor[] = [];
  return engineInternals().runKernelFunc({
    inputs,
    forwardFunc: (_, save) =>
      forward((tensors) => {
        all = tensors;
        save(tensors.filter((tensor) => !(tensor instanceof tf.Variable)));
      }),
    backwardsFunc: (dy, saved) => {
      let at = 0;
      return gradient(
        dy,
        all.map((tensor) => (tensor instanceof tf.Variable ? tensor : saved[at++])),
      );
    },
  });
}

/** What `compute` gives, as a constant: nothing in it is recorded, and what it made on the way is freed at once, as on no tape. */
export const withoutGradient = (compute: () => Tensor): Tensor => differentiable({}, compute, () => ({}));

/**
 * Runs `forward` on the tape and walks it back from `seed(loss)`, the gradient of the loss. tf.variableGrads keeps every
 * activation and gradient until it ends; this frees each as soon as the walk has passed it (about half the peak), and
 * visits only what depends on `parameters`. `ready` is told of each gradient as soon as nothing will be added to it.
 *
 * @returns the loss and one gradient per path, zeros where the loss does not depend on it (`missing` names these). The caller owns them.
 */
export function backward(
  forward: () => Scalar,
  parameters: Tensors,
  seed: () => number | Scalar,
  ready?: (path: string, gradient: Tensor) => void,
): { loss: Scalar; gradients: Tensors; missing: readonly string[] } {
  const engine = engineInternals();
  const { state } = engine;
  engine.startScope('backward');
  engine.startTape();
  const tape = state.activeTape as TapeNode[];
  const results: Tensor[] = [];
  trainedOn.set(tape, new Set(Object.values(parameters).map(({ id }) => id)));
  try {
    let loss: Scalar;
    try {
      loss = forward();
    } finally {
      engine.endTape();
      if (state.gradientDepth === 0) state.activeTape = null;
    }
    const reached = new Set(Object.values(parameters).map((p) => p.id));
    const path = dependent(tape, reached);
    const complete = ready ? firstUses(path, parameters) : new Map<TapeNode, string[]>();
    const start = seed();
    const ownedSeed = typeof start === 'number' ? tf.scalar(start) : start;
    const gradientOf = new Map<number, Tensor>([[loss.id, ownedSeed]]);
    walkBack(path, gradientOf, reached, loss, (node) => {
      for (const name of complete.get(node) ?? []) {
        const gradient = gradientOf.get(parameters[name].id);
        if (gradient) ready?.(name, gradient);
      }
    });
    const gradients: Tensors = {};
    const missing: string[] = [];
    for (const [name, parameter] of Object.entries(parameters)) {
      if (!gradientOf.has(parameter.id)) missing.push(name);
      results.push((gradients[name] = gradientOf.get(parameter.id) ?? tf.zerosLike(parameter)));
    }
    results.push(loss);
    return { loss, gradients, missing };
  } finally {
    for (const node of tape) releaseSaved(node);
    engine.endScope(results);
  }
}

/** The parameters that each operation is the first to use: the last to add to their gradients. */
function firstUses(path: readonly TapeNode[], parameters: Tensors): Map<TapeNode, string[]> {
  const left = new Map(Object.entries(parameters).map(([name, { id }]) => [id, name]));
  const uses = new Map<TapeNode, string[]>();
  for (const node of path)
    for (const { id } of Object.values(node.inputs)) {
      const name = left.get(id);
      if (name === undefined) continue;
      left.delete(id);
      uses.set(node, [...(uses.get(node) ?? []), name]);
    }
  return uses;
}

/** Zeros of the same shapes: what a rank adds whose data has ended. */
export function zeroSum(parameters: Tensors): { gradients: Tensors; loss: Scalar } {
  const gradients: Tensors = {};
  for (const [path, parameter] of Object.entries(parameters)) gradients[path] = tf.zerosLike(parameter);
  return { gradients, loss: tf.scalar(0) };
}

/** The mean loss of `items` examples as a sum; disposes what it is given. */
export function timesItems(loss: Scalar, items: number): Scalar {
  const sum = loss.mul(items) as Scalar;
  loss.dispose();
  return sum;
}

/** Frees tensors that a step is done with; those a tap has freed already are passed over. */
export function disposeAll(tensors: Tensors): void {
  for (const name in tensors) if (!tensors[name].isDisposed) tensors[name].dispose();
}

export const isTensor = (value: unknown): value is Tensor => value instanceof tf.Tensor;
