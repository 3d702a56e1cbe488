import type { Tensor } from '../../../core/tf.js';
import * as tf from '../../../core/tf.js';

/** Arithmetic on whatever a device computes with: tensors, or the nodes that a kernel is generated from. */
export interface Arithmetic<X> {
  add(a: X | number, b: X | number): X;
  sub(a: X | number, b: X | number): X;
  mul(a: X | number, b: X | number): X;
  div(a: X | number, b: X | number): X;
  min(a: X | number, b: X | number): X;
  max(a: X | number, b: X | number): X;
  sqrt(a: X): X;
  abs(a: X): X;
  /** -1, 0 or 1. */
  sign(a: X): X;
}

/**
 * One element-wise pass over a list of groups of equally long arrays, stated once. A device may make one kernel of it
 * (see {@link record}); elsewhere the same statement runs as TensorFlow.js operations.
 */
export interface Program {
  /** Names the kernel: with every constant that `body` closes over. */
  readonly name: string;
  /** The arrays of a group. */
  readonly arrays: readonly string[];
  /** Those that get a new value; none where the program is a sum. */
  readonly writes: readonly string[];
  /** Scalars of this call. */
  readonly factors: readonly string[];
  /** The new values of what is written; or `sum`, which is added up over all elements of all groups. */
  body<X>(a: Arithmetic<X>, x: Readonly<Record<string, X>>): Readonly<Record<string, X>>;
}

export type Arrays = Readonly<Record<string, Tensor>>;

/** A program's arithmetic as TensorFlow.js operations. */
export const tensorArithmetic: Arithmetic<Tensor> = {
  add: (a, b) => tf.add(a, b),
  sub: (a, b) => tf.sub(a, b),
  mul: (a, b) => tf.mul(a, b),
  div: (a, b) => tf.div(a, b),
  min: (a, b) => tf.minimum(a, b),
  max: (a, b) => tf.maximum(a, b),
  sqrt: (a) => tf.sqrt(a),
  abs: (a) => tf.abs(a),
  sign: (a) => tf.sign(a),
};

/** One operation of a recorded program; `a` and `b` are places in the list. */
export type ProgramNode =
  | { readonly op: 'array' | 'factor'; readonly name: string }
  | { readonly op: 'constant'; readonly value: number }
  | { readonly op: 'sqrt' | 'abs' | 'sign'; readonly a: number }
  | { readonly op: 'add' | 'sub' | 'mul' | 'div' | 'min' | 'max'; readonly a: number; readonly b: number };

/** A program as a list of operations, each only once, in an order in which they can be computed. */
export interface Recorded {
  readonly nodes: readonly ProgramNode[];
  /** What is written: an array's name, or `sum`, and the node that holds its new value. */
  readonly results: readonly { readonly name: string; readonly node: number }[];
}

/** Writes a program down for a kernel generator. */
export function record(program: Program): Recorded {
  const nodes: ProgramNode[] = [];
  const places = new Map<string, number>();
  const place = (node: ProgramNode): number => {
    const key = JSON.stringify(node);
    let at = places.get(key);
    if (at === undefined) places.set(key, (at = nodes.push(node) - 1));
    return at;
  };
  // A number stands for a constant; a node is its place, in an object so that the two differ.
  interface Place {
    readonly at: number;
  }
  const at = (x: Place | number): number => (typeof x === 'number' ? place({ op: 'constant', value: x }) : x.at);
  const binary = (op: 'add' | 'sub' | 'mul' | 'div' | 'min' | 'max') => (a: Place | number, b: Place | number) => ({
    at: place({ op, a: at(a), b: at(b) }),
  });
  const unary = (op: 'sqrt' | 'abs' | 'sign') => (a: Place) => ({ at: place({ op, a: a.at }) });
  const given: Record<string, Place> = {};
  for (const name of program.arrays) given[name] = { at: place({ op: 'array', name }) };
  for (const name of program.factors) given[name] = { at: place({ op: 'factor', name }) };
  const next = program.body<Place>(
    {
      add: binary('add'),
      sub: binary('sub'),
      mul: binary('mul'),
      div: binary('div'),
      min: binary('min'),
      max: binary('max'),
      sqrt: unary('sqrt'),
      abs: unary('abs'),
      sign: unary('sign'),
    },
    given,
  );
  return { nodes, results: Object.entries(next).map(([name, value]) => ({ name, node: value.at })) };
}
