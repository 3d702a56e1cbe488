import { HALVES } from './storage.js';

/**
 * One of a product's two operands: numbers at (outer, inner), where outer is a row of the first or a column of the second, and inner is what is summed over.
 * It is gathered while it is loaded, so that a convolution's patches are never written out. Expressions and statements are WGSL; they know the product's
 * sizes by name, `batch`, `start` (the slice's first inner place) and `DEPTH`, a step along the inner axis.
 */
export interface Operand {
  /** The name of its array in the shader. */
  readonly array: string;
  /** Whether it is stored in half precision. */
  readonly half: boolean;
  /** The axis along which neighbours are next to each other in memory, and over how many numbers at a time. */
  readonly along: 'outer' | 'inner';
  readonly run: number;
  /** Statements that find once what is known of an outer place, and of an inner one; names that they make end with `tag`. */
  readonly outer?: (at: string, tag: string) => string;
  readonly inner?: (at: string, tag: string) => string;
  /** The element's place, and whether there is one (within the product's bounds). */
  readonly index: (at: Place) => string;
  readonly valid?: (at: Place) => string;
  /** What all threads know of a step: statements before the first, and after each. */
  readonly begin?: string;
  readonly next?: string;
}

/** A place in an operand: expressions, and the tags of what was found of them. `offset` is the inner place's within its step. */
export interface Place {
  readonly outer: string;
  readonly inner: string;
  readonly offset: string;
  readonly o: string;
  readonly i: string;
}

/** Numbers that a thread loads at a time: 16 bytes where the memory is laid out for it. */
export const widthOf = ({ half, run }: Operand): number => (half ? HALVES : run % 4 === 0 ? 4 : 1);

/** The type of an operand's array in a shader. */
export const arrayOf = (operand: Operand): string => ({ 1: 'f32', 4: 'vec4f', 8: 'vec4u' })[widthOf(operand) as 1 | 4 | 8];

/** The loads of a tile of `extent` outer places by `depth` inner ones, by so many threads. */
export interface Loads {
  /** Statements before the walk along the inner axis. */
  readonly begin: string;
  /** Loads what stands at step `base` into registers. */
  readonly fetch: string;
  /** Moves it on to `store`. */
  readonly put: string;
  readonly next: string;
}

export interface Tile {
  readonly extent: number;
  readonly depth: number;
  readonly threads: number;
  /** Whether steps fill the inner axis. */
  readonly whole: boolean;
  /** The first outer place of this workgroup, and how many there are in all. */
  readonly first: string;
  readonly length: string;
  /** Statements that keep a loaded value (of {@link widthOf} numbers, as {@link arrayOf}) whose first number is at these local places. */
  readonly store: (value: string, outer: string, inner: string) => string;
}

/**
 * Writes the loads of a tile; `name` tells its variables from others'. In place of outer places beyond the operand's the last ones are loaded: they are in none
 * of the results that are written, and nothing is asked in the loop.
 */
export function loads(operand: Operand, name: string, tile: Tile): Loads {
  const { extent, depth, threads } = tile;
  const width = widthOf(operand);
  const isInner = operand.along === 'inner';
  const row = (isInner ? depth : extent) / width;
  const count = (extent * depth) / width;
  const slots = Math.ceil(count / threads);
  // Slots of a thread differ in one of their two places alone, where rows of vectors divide the threads.
  const regular = threads % row === 0;
  const tag = (slot: number, axis: 'outer' | 'inner') => `_${name}${regular && (axis === 'inner') === isInner ? 0 : slot}`;
  const spare = count % threads > 0;
  const type = arrayOf(operand);
  const zero = { f32: '0f', vec4f: 'vec4f()', vec4u: 'vec4u()' }[type];
  const each = (text: (slot: number) => string): string => Array.from({ length: slots }, (_, slot) => text(slot)).join('\n');
  const once = (slot: number, axis: 'outer' | 'inner', text: string): string => (tag(slot, axis) === `_${name}${slot}` ? text : '');
  const at = (slot: number): Place => ({
    outer: `outer${tag(slot, 'outer')}`,
    inner: `inner${tag(slot, 'inner')}`,
    offset: `offset${tag(slot, 'inner')}`,
    o: tag(slot, 'outer'),
    i: tag(slot, 'inner'),
  });
  const vector = (slot: number) => `(local + ${slot * threads}u)`;
  const local = (slot: number, axis: 'outer' | 'inner'): string =>
    (axis === 'inner') === isInner ? `${vector(slot)} % ${row}u * ${width}u` : `${vector(slot)} / ${row}u`;
  return {
    begin: `${each(
      (slot) => `${once(
        slot,
        'outer',
        `let near${tag(slot, 'outer')} = ${local(slot, 'outer')}; let outer${tag(slot, 'outer')} = min(${tile.first} + near${tag(slot, 'outer')}, ${tile.length} - ${isInner ? 1 : width}u);
${operand.outer?.(`outer${tag(slot, 'outer')}`, tag(slot, 'outer')) ?? ''}`,
      )}
${once(slot, 'inner', `let offset${tag(slot, 'inner')} = ${local(slot, 'inner')};`)}
var value_${name}${slot} = ${zero};`,
    )}
${operand.begin ?? ''}`,
    fetch: each((slot) => {
      const place = at(slot);
      const inside = [...(tile.whole ? [] : [`${place.inner} < end`]), ...(operand.valid ? [operand.valid(place)] : [])];
      if (spare && slot === slots - 1) inside.unshift(`${vector(slot)} < ${count}u`);
      return `${once(slot, 'inner', `let inner${tag(slot, 'inner')} = base + offset${tag(slot, 'inner')}; ${operand.inner?.(`inner${tag(slot, 'inner')}`, tag(slot, 'inner')) ?? ''}`)}
${
  inside.length > 0
    ? `value_${name}${slot} = ${zero};
if (${inside.join(' && ')})`
    : ''
} { value_${name}${slot} = ${operand.array}[${width === 1 ? operand.index(place) : `(${operand.index(place)}) / ${width}u`}]; }`;
    }),
    put: each((slot) => {
      const store = tile.store(`value_${name}${slot}`, `near${tag(slot, 'outer')}`, `offset${tag(slot, 'inner')}`);
      return spare && slot === slots - 1 ? `if (${vector(slot)} < ${count}u) { ${store} }` : store;
    }),
    next: operand.next ?? '',
  };
}
