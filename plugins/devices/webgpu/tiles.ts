import { arrayOf, loads, type Operand } from './operands.js';
import { namedSizes } from './sizes.js';

/** One product of two operands, over an inner axis whose length has this name among the sizes. */
export interface Term {
  readonly a: Operand;
  readonly b: Operand;
  readonly k: string;
}

/** What a shader that computes a tile of a product is written from. All of it is in the shader's name. */
export interface TiledProduct {
  /** Products that are added up. */
  readonly terms: readonly Term[];
  /** Names of the sizes: m, n, batch, slices and those of the operands. */
  readonly sizes: readonly string[];
  /** WGSL functions of the operands. */
  readonly functions: string;
  /** Whether the sums are multiplied with the size `scale`, whose bits are a float's. */
  readonly scaled: boolean;
  /** Added to each result: a number a column, and a tensor like the result. */
  readonly bias: boolean;
  readonly rest: 'none' | 'full' | 'half';
  /** How the result is stored. */
  readonly half: boolean;
  /** Whether columns come in fours. */
  readonly wide: boolean;
  /** Whether all tiles and slices are whole. */
  readonly whole: boolean;
  readonly rows: number;
  readonly columns: number;
}

export const each = (count: number, text: (i: number) => string): string => Array.from({ length: count }, (_, i) => text(i)).join('\n');

/** How results are declared: in half precision as pairs, or fours, of packed numbers. */
const storageOf = (half: boolean, wide: boolean): string => (half ? (wide ? 'vec2u' : 'u32') : wide ? 'vec4f' : 'f32');

/** Bindings in this order: the operands of each term, the bias, the rest, the result, the sizes. */
export function declarations(p: TiledProduct): string {
  const lines = [
    ...p.terms.flatMap(({ a, b }) => [a, b]).map((operand) => `var<storage, read> ${operand.array}: array<${arrayOf(operand)}>;`),
    ...(p.bias ? ['var<storage, read> bias: array<f32>;'] : []),
    ...(p.rest === 'none' ? [] : [`var<storage, read> rest: array<${storageOf(p.rest === 'half', p.wide)}>;`]),
    `var<storage, read_write> result: array<${storageOf(p.half, p.wide)}>;`,
    'var<storage, read> sizes: array<u32>;',
  ];
  return lines.map((line, i) => `@group(0) @binding(${i}) ${line}`).join('\n');
}

/** What every thread knows. */
export const head = (p: TiledProduct): string => `  ${namedSizes(p.sizes)}
  let firstColumn = group.x * ${p.columns}u;
  let firstRow = group.y * ${p.rows}u;
  let batch = group.z / slices;
  let slice = group.z % slices;
  let offset = group.z * m * n;`;

/** How a shader walks along the inner axis. */
export interface Walk {
  /** Steps, and threads of a workgroup. */
  readonly depth: number;
  readonly threads: number;
  /** Statements that keep a loaded value in a tile of so many outer places. */
  readonly store: (operand: Operand, tile: string, extent: number, value: string, outer: string, inner: string) => string;
  /** Statements that multiply what is in the tiles. */
  readonly multiply: string;
}

/** Statements that add a term to the sums: while one step is multiplied, the next is on its way from memory to registers. */
export function walk(p: TiledProduct, term: Term, at: number, { depth, threads, store, multiply }: Walk): string {
  const tile = (operand: Operand, name: string, extent: number, bound: string, first: string) =>
    loads(operand, `${name}${at}`, {
      extent,
      depth,
      threads,
      whole: p.whole,
      bound,
      first,
      store: (value, outer, inner) => store(operand, `tile${name.toUpperCase()}`, extent, value, outer, inner),
    });
  const a = tile(term.a, 'a', p.rows, 'm', 'firstRow');
  const b = tile(term.b, 'b', p.columns, 'n', 'firstColumn');
  const begin = `const DEPTH = ${depth}u; ${bounds(term, at, depth)}
    ${a.begin}
    ${b.begin}`;
  const fetch = `${a.fetch} ${b.fetch} ${a.next} ${b.next}`;
  const put = `workgroupBarrier();
      ${a.put}
      ${b.put}
      workgroupBarrier();`;
  // No branch stands around the first product, of the zeros that a workgroup's memory begins with: compilers move loads past products within a block alone.
  return at === 0
    ? `{ ${begin}
    for (var base = start; base < end; base += ${depth}u) {
      ${fetch}
      ${multiply}
      ${put}
    }
    ${multiply}
  }`
    : `{ ${begin}
    for (var base = start; base < end; base += ${depth}u) {
      ${fetch}
      ${put}
      ${multiply}
    }
  }`;
}

/** A term's part of the inner axis that this slice adds up: all of a second term is the first slice's. */
const bounds = ({ k }: Term, at: number, depth: number): string =>
  at === 0
    ? `let share = (${k} + slices * ${depth}u - 1u) / (slices * ${depth}u) * ${depth}u; let start = min(${k}, slice * share); let end = min(${k}, start + share);`
    : `let start = 0u; let end = select(0u, ${k}, slice == 0u);`;

/** Statements that write four results of a row, or one, with what is added to them. */
export function write(p: TiledProduct, sums: string, row: string, column: string): string {
  const values = p.scaled ? `${sums} * bitcast<f32>(scale)` : sums;
  const at = `(offset + ${row} * n + ${column})`;
  const within = p.whole ? '' : `if (${row} < m && ${column} < n) `;
  if (p.wide) {
    const more = [
      ...(p.bias ? [`vec4f(bias[${column}], bias[${column} + 1u], bias[${column} + 2u], bias[${column} + 3u])`] : []),
      ...(p.rest === 'full' ? ['rest[at]'] : []),
      ...(p.rest === 'half' ? ['vec4f(unpack2x16float(rest[at].x), unpack2x16float(rest[at].y))'] : []),
    ];
    const sum = [values, ...more].join(' + ');
    return `${within}{ let at = ${at} / 4u; let sum = ${sum};
      result[at] = ${p.half ? 'vec2u(pack2x16float(sum.xy), pack2x16float(sum.zw))' : 'sum'}; }`;
  }
  const more = [
    ...(p.bias ? [`bias[${column}]`] : []),
    ...(p.rest === 'full' ? ['rest[at]'] : []),
    ...(p.rest === 'half' ? ['unpack2x16float(rest[at / 2u])[at % 2u]'] : []),
  ];
  return `${within}{ let at = ${at}; result[at] = ${[values, ...more].join(' + ')}; }`;
}
