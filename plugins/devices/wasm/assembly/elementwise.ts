// @ts-nocheck: these are AssemblyScript's types, not TypeScript's.

// Sums, differences, products and quotients of two tensors, one of which may be repeated along axes of the other. All of out's axes are given as three.

import { at, put, some } from './memory';

/** Numbers of a line that are one block. */
const PIECE: i32 = 4096;

const ADD: i32 = 0, SUBTRACT: i32 = 1, MULTIPLY: i32 = 2;

@inline
function both(kind: i32, x: v128, y: v128): v128 {
  if (kind == ADD) return f32x4.add(x, y);
  if (kind == SUBTRACT) return f32x4.sub(x, y);
  return kind == MULTIPLY ? f32x4.mul(x, y) : f32x4.div(x, y);
}

/**
 * The blocks from .. to of out [outer, middle, inner]. An operand's steps say how many numbers of it lie between neighbours along each axis, 0 where it is
 * repeated, and 1 along the last axis otherwise.
 */
@inline
function over(
  kind: i32, a: usize, b: usize, out: usize, middle: i32, inner: i32, aOuter: i32, aMiddle: i32, aInner: i32, bOuter: i32, bMiddle: i32, bInner: i32,
  from: i32, to: i32,
): void {
  const pieces = (inner + PIECE - 1) / PIECE;
  for (let block = from; block < to; block++) {
    const line = block / pieces;
    const first = (block - line * pieces) * PIECE;
    const count = min(PIECE, inner - first);
    const o = line / middle, m = line - o * middle;
    const p = at(a, o * aOuter + m * aMiddle + first * aInner), q = at(b, o * bOuter + m * bMiddle + first * bInner);
    const r = at(out, line * inner + first);
    const x = v128.load32_splat(p), y = v128.load32_splat(q);
    let i = 0;
    for (; i + 4 <= count; i += 4) v128.store(at(r, i), both(kind, aInner ? v128.load(at(p, i)) : x, bInner ? v128.load(at(q, i)) : y));
    if (i < count) {
      const rest = count - i;
      put(at(r, i), both(kind, aInner ? some(at(p, i), rest) : x, bInner ? some(at(q, i), rest) : y), rest);
    }
  }
}

export function add(
  a: usize, b: usize, out: usize, middle: i32, inner: i32, aOuter: i32, aMiddle: i32, aInner: i32, bOuter: i32, bMiddle: i32, bInner: i32,
  from: i32, to: i32,
): void {
  over(ADD, a, b, out, middle, inner, aOuter, aMiddle, aInner, bOuter, bMiddle, bInner, from, to);
}

export function subtract(
  a: usize, b: usize, out: usize, middle: i32, inner: i32, aOuter: i32, aMiddle: i32, aInner: i32, bOuter: i32, bMiddle: i32, bInner: i32,
  from: i32, to: i32,
): void {
  over(SUBTRACT, a, b, out, middle, inner, aOuter, aMiddle, aInner, bOuter, bMiddle, bInner, from, to);
}

export function multiply(
  a: usize, b: usize, out: usize, middle: i32, inner: i32, aOuter: i32, aMiddle: i32, aInner: i32, bOuter: i32, bMiddle: i32, bInner: i32,
  from: i32, to: i32,
): void {
  over(MULTIPLY, a, b, out, middle, inner, aOuter, aMiddle, aInner, bOuter, bMiddle, bInner, from, to);
}

export function divide(
  a: usize, b: usize, out: usize, middle: i32, inner: i32, aOuter: i32, aMiddle: i32, aInner: i32, bOuter: i32, bMiddle: i32, bInner: i32,
  from: i32, to: i32,
): void {
  over(MULTIPLY + 1, a, b, out, middle, inner, aOuter, aMiddle, aInner, bOuter, bMiddle, bInner, from, to);
}
