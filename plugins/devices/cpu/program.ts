import type { Factors } from '../compute/contract.js';
import { type Arrays, type Program, type ProgramNode, record } from '../compute/program.js';
import { numberOf, valuesOf } from './internals.js';

/** Elements that pass through all operations of a program before the next ones do: few enough to stay in the processor's cache. */
const PIECE = 1024;

/** One operation over `count` elements, each result rounded to float32 as TensorFlow.js's kernels round theirs. */
type Pass = (count: number) => void;

/** A program as passes over arrays of one piece; `slots` hold what stands at each of its nodes. */
interface Compiled {
  readonly nodes: readonly ProgramNode[];
  readonly results: readonly { readonly name: string; readonly node: number }[];
  readonly slots: readonly Float32Array[];
  readonly passes: readonly Pass[];
}

function passOf(node: ProgramNode, out: Float32Array, slots: readonly Float32Array[]): Pass | null {
  if (!('a' in node)) return null;
  const a = slots[node.a];
  const b = 'b' in node ? slots[node.b] : a;
  // A loop for each, so that none asks which operation it is.
  const passes: Record<typeof node.op, Pass> = {
    add: (n) => {
      for (let i = 0; i < n; i++) out[i] = a[i] + b[i];
    },
    sub: (n) => {
      for (let i = 0; i < n; i++) out[i] = a[i] - b[i];
    },
    mul: (n) => {
      for (let i = 0; i < n; i++) out[i] = a[i] * b[i];
    },
    div: (n) => {
      for (let i = 0; i < n; i++) out[i] = a[i] / b[i];
    },
    min: (n) => {
      for (let i = 0; i < n; i++) out[i] = Math.min(a[i], b[i]);
    },
    max: (n) => {
      for (let i = 0; i < n; i++) out[i] = Math.max(a[i], b[i]);
    },
    sqrt: (n) => {
      for (let i = 0; i < n; i++) out[i] = Math.sqrt(a[i]);
    },
    abs: (n) => {
      for (let i = 0; i < n; i++) out[i] = Math.abs(a[i]);
    },
    sign: (n) => {
      for (let i = 0; i < n; i++) out[i] = a[i] > 0 ? 1 : a[i] < 0 ? -1 : 0;
    },
  };
  return passes[node.op];
}

function compile(program: Program): Compiled {
  const { nodes, results } = record(program);
  const slots = nodes.map(() => new Float32Array(PIECE));
  const passes = nodes.map((node, i) => passOf(node, slots[i], slots)).filter((pass) => pass !== null);
  for (const [i, node] of nodes.entries()) if (node.op === 'constant') slots[i].fill(node.value);
  return { nodes, results, slots, passes };
}

/** Programs, each compiled once. */
export class CompiledPrograms {
  private readonly known = new Map<string, Compiled>();

  /** A program whose factors have their values. */
  get(program: Program, factors: Factors): Compiled {
    let compiled = this.known.get(program.name);
    if (!compiled) this.known.set(program.name, (compiled = compile(program)));
    for (const [i, node] of compiled.nodes.entries()) if (node.op === 'factor') compiled.slots[i].fill(numberOf(factors[node.name]));
    return compiled;
  }
}

/** Passes over a group, piece by piece; `take` is told where each piece began. */
export function walk({ nodes, slots, passes }: Compiled, group: Arrays, size: number, take: (from: number, count: number) => void): void {
  const inputs = nodes.flatMap((node, i) => (node.op === 'array' ? [{ slot: slots[i], values: valuesOf(group[node.name]) }] : []));
  for (let from = 0; from < size; from += PIECE) {
    const count = Math.min(PIECE, size - from);
    for (const { slot, values } of inputs) for (let i = 0; i < count; i++) slot[i] = values[from + i];
    for (const pass of passes) pass(count);
    take(from, count);
  }
}
