import { arrayOf, loads, type Operand } from './operands.js';
import { namedSizes } from './sizes.js';

/** One product of two operands, over an inner axis whose length has this name among the sizes; `whole` says that it is made of whole steps. */
export interface Term {
  readonly a: Operand;
  readonly b: Operand;
  readonly k: string;
  readonly whole: boolean;
}

/** What a shader that computes a tile of a product is written from. All of it is in the shader's name. */
export interface TiledProduct {
  /** Products that are added up. */
  readonly terms: readonly Term[];
  /** Names of the sizes: m, n, slices and those of the operands. The bits of the float32 that sums are multiplied with, and {@link FLAGS}, stand after them. */
  readonly sizes: readonly string[];
  /** WGSL functions of the operands. */
  readonly functions: string;
  /** Whether columns come in fours. */
  readonly wide: boolean;
  readonly rows: number;
  readonly columns: number;
}

export const each = (count: number, text: (i: number) => string): string => Array.from({ length: count }, (_, i) => text(i)).join('\n');

/**
 * What is done with sums before they are written, as bits of a number: drivers take a second or so for a shader, so that one serves all that differ in nothing
 * else. Added is a bias, a number a column, and the rest, a tensor like the result; the last two say what is stored in half precision.
 */
export const FLAGS = { bias: 1, rest: 2, halfRest: 4, halfResult: 8 } as const;

const isSet = (flag: keyof typeof FLAGS): string => `(flags & ${FLAGS[flag]}u) != 0u`;

/** Whether the rest, or the result, may be stored in half precision: where no operand is, none of them is. */
const mayBeHalf = ({ terms }: TiledProduct): boolean => terms.some(({ a, b }) => a.half || b.half);

/** How the rest and the result are declared. As bits, four halves are one element, and four floats are two. */
const storageOf = (p: TiledProduct): string => (mayBeHalf(p) ? (p.wide ? 'vec2u' : 'u32') : p.wide ? 'vec4f' : 'f32');

/**
 * Bindings in this order: the operands of each term, the bias, the rest, the result, the sizes. That is eight at the most, as many as every device has. Where
 * there is no bias or no rest, anything that is only read stands in its place.
 */
export function declarations(p: TiledProduct): string {
  const lines = [
    ...p.terms.flatMap(({ a, b }) => [a, b]).map((operand) => `var<storage, read> ${operand.array}: array<${arrayOf(operand)}>;`),
    'var<storage, read> bias: array<f32>;',
    `var<storage, read> rest: array<${storageOf(p)}>;`,
    `var<storage, read_write> result: array<${storageOf(p)}>;`,
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
  const tile = (operand: Operand, name: string, extent: number, first: string) =>
    loads(operand, `${name}${at}`, {
      extent,
      depth,
      threads,
      whole: term.whole,
      first,
      store: (value, outer, inner) => store(operand, `tile${name.toUpperCase()}`, extent, value, outer, inner),
    });
  const a = tile(term.a, 'a', p.rows, 'firstRow');
  const b = tile(term.b, 'b', p.columns, 'firstColumn');
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

/** What is known of all results before they are written. */
export const tail = ({ sizes }: TiledProduct): string =>
  `let scale = bitcast<f32>(sizes[${sizes.length}]); let flags = sizes[${sizes.length + 1}];`;

/** Statements that write four results of a row, or one, with what is added to them, if they are within bounds. */
export function write(p: TiledProduct, sums: string, row: string, column: string): string {
  const bits = mayBeHalf(p);
  const at = `(offset + ${row} * n + ${column})`;
  const bias = p.wide ? `vec4f(bias[${column}], bias[${column} + 1u], bias[${column} + 2u], bias[${column} + 3u])` : `bias[${column}]`;
  const floats = p.wide ? 'bitcast<vec4f>(vec4u(rest[2u * at], rest[2u * at + 1u]))' : 'bitcast<f32>(rest[at])';
  const halves = p.wide ? 'vec4f(unpack2x16float(rest[at].x), unpack2x16float(rest[at].y))' : 'unpack2x16float(rest[at / 2u])[at % 2u]';
  const addRest = bits ? `if (${isSet('halfRest')}) { sum += ${halves}; } else { sum += ${floats}; }` : 'sum += rest[at];';
  const wideBits = `if (${isSet('halfResult')}) { result[at] = vec2u(pack2x16float(sum.xy), pack2x16float(sum.zw)); }
      else { let both = bitcast<vec4u>(sum); result[2u * at] = both.xy; result[2u * at + 1u] = both.zw; }`;
  // Halves come in fours.
  const keep = bits ? (p.wide ? wideBits : 'result[at] = bitcast<u32>(sum);') : 'result[at] = sum;';
  return `if (${row} < m && ${column} < n) { let at = ${at}${p.wide ? ' / 4u' : ''}; var sum = ${sums} * scale;
      if (${isSet('bias')}) { sum += ${bias}; }
      if (${isSet('rest')}) { ${addRest} }
      ${keep} }`;
}
