import { engineInternals, type Recorded, type TapeNode } from './engine.js';
import { fail } from './errors.js';
import type { Tensors } from './model.js';
import type { Tensor } from './tf.js';
import * as tf from './tf.js';

const release = (tensors: readonly Tensor[] | undefined): void => {
  for (const tensor of tensors ?? []) if (!tensor.isDisposed && !tensor.kept) tensor.dispose();
};

/** Saved values are kept clones, so they are freed whether kept or not. */
export const releaseSaved = (node: TapeNode): void => {
  for (const tensor of node.saved ?? []) if (!tensor.isDisposed) tensor.dispose();
};

/** The operations that depend on what is reached, to which what they give is added; the others' saved values are freed. */
export const dependent = (tape: readonly TapeNode[], reached: Set<number>): TapeNode[] =>
  tape.filter((node) => {
    const depends = reaches(node, reached);
    if (!depends) releaseSaved(node);
    return depends;
  });

/** Whether an operation depends on what is reached, to which what it gives is added then. */
export function reaches(node: TapeNode, reached: Set<number>): boolean {
  const depends = Object.values(node.inputs).some((input) => reached.has(input.id));
  if (depends) for (const output of node.outputs) reached.add(output.id);
  return depends;
}

/** Walks a path from its end, freeing what is behind; `result` is the caller's. */
export function walkBack(
  path: readonly TapeNode[],
  gradientOf: Map<number, Tensor>,
  reached: Set<number>,
  result: Tensor,
  passed: (node: TapeNode) => void,
): void {
  for (let i = path.length - 1; i >= 0; i--) {
    const node = path[i];
    if (node.outputs.some((output) => gradientOf.has(output.id)) && !walkReplayed(node, gradientOf, reached))
      (node.again ? walkAgain : walk)(node, gradientOf, reached);
    releaseSaved(node);
    release(node.outputs.filter((output) => output !== result));
    passed(node);
  }
}

/** What one node's own way back gives, where it has one that gives what is wanted. */
function walkReplayed(node: TapeNode, gradientOf: Map<number, Tensor>, reached: ReadonlySet<number>): boolean {
  const wanted = Object.values(node.inputs).flatMap(({ id }) => (reached.has(id) ? [id] : []));
  // To what there is already, each operation's part would be added by itself: other sums of the same numbers.
  if (!node.back || wanted.some((id) => gradientOf.has(id))) return false;
  const [{ id: output }] = node.outputs;
  const dy = gradientOf.get(output) as Tensor;
  const gradients = node.back(dy, wanted);
  if (!gradients) return false;
  dy.dispose();
  gradientOf.delete(output);
  for (const [id, gradient] of gradients) {
    if (reached.has(id)) gradientOf.set(id, gradient);
    else gradient.dispose();
  }
  return true;
}

/** Computes again what one node stands for, and walks that. */
function walkAgain(node: TapeNode, gradientOf: Map<number, Tensor>, reached: Set<number>): void {
  const engine = engineInternals();
  const [{ id }] = node.outputs;
  engine.startScope('again');
  let tape: readonly TapeNode[] = [];
  try {
    const recorded = (node.again as () => Recorded)();
    tape = recorded.tape;
    const path = dependent(tape, reached);
    const dy = gradientOf.get(id) as Tensor;
    gradientOf.delete(id);
    addGradient(gradientOf, recorded.result.id, dy);
    walkBack(path, gradientOf, reached, recorded.result, () => undefined);
  } finally {
    for (const inner of tape) releaseSaved(inner);
    engine.endScope([...gradientOf.values()]);
  }
}

function walk(node: TapeNode, gradientOf: Map<number, Tensor>, reached: Set<number>): void {
  const dys = node.outputs.map((output) => gradientOf.get(output.id) ?? null);
  if (!node.gradient)
    fail(
      'NO_GRADIENT',
      'core',
      `TensorFlow.js has no gradient for the operation ${node.kernelName}`,
      'Write it with others, or use tf.customGrad.',
    );
  const { gradient } = node;
  const made = tf.tidy(() => {
    // Some gradient functions read a missing dy as zeros themselves; TensorFlow.js fills it in when it sees null.
    const inputGradients = gradient(dys);
    const wanted: Tensors = {};
    for (const [name, input] of Object.entries(node.inputs)) {
      if (!reached.has(input.id) || !inputGradients[name]) continue;
      const dx = tf.tidy(inputGradients[name]);
      wanted[name] = dys.includes(dx) ? dx.clone() : dx;
    }
    return wanted;
  });
  for (const [name, dx] of Object.entries(made)) addGradient(gradientOf, node.inputs[name].id, dx);
  for (const output of node.outputs) {
    gradientOf.get(output.id)?.dispose();
    gradientOf.delete(output.id);
  }
}

/** Adds what is taken over to what a tensor's gradient is so far. */
function addGradient(gradientOf: Map<number, Tensor>, id: number, more: Tensor): void {
  const before = gradientOf.get(id);
  gradientOf.set(id, before ? tf.add(before, more) : more);
  if (!before) return;
  more.dispose();
  before.dispose();
}
