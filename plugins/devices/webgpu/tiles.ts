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
 * What is done with sums before they are written, as bits of a number: a bias is added, a number a column, and the rest, a tensor like the result, which is
 * stored in half precision. Drivers take up to a second for a shader, so that one serves all that differ in nothing else.
 */
export const FLAGS = { bias: 1, rest: 2, half: 4 } as const;

/** Whether the rest is stored in half precision, and the result may be: where an operand is, and columns come in fours. */
const packs = ({ terms, wide }: TiledProduct): boolean => wide && terms.some(({ a, b }) => a.half || b.half);

/** How the rest and the result are declared: four halves are one element, and four floats one or two. */
const storageOf = (p: TiledProduct): string => (packs(p) ? 'vec2u' : p.wide ? 'vec4f' : 'f32');

/**
 * Bindings in this order: the operands of each term, the bias, the rest, the result, the sizes. That is eight at the most, as many as every device has. Where
 * there is no bias or no rest, anything that is only read stands in its place.
 */
export function declarations(p: TiledProduct): string {
  const lines = [
    ...p.terms.flatMap(({ a, b }) => [a, b]).map((operand) => `var<storage, read> ${operand.array}: array<${arrayOf(operand)}>;`),
    `var<storage, read> bias: array<${p.wide ? 'vec4f' : 'f32'}>;`,
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
  const tile = (operand: Operand, name: string, extent: number, first: string, length: string) =>
    loads(operand, `${name}${at}`, {
      extent,
      depth,
      threads,
      whole: term.whole,
      first,
      length,
      store: (value, outer, inner) => store(operand, `tile${name.toUpperCase()}`, extent, value, outer, inner),
    });
  const a = tile(term.a, 'a', p.rows, 'firstRow', 'm');
  const b = tile(term.b, 'b', p.columns, 'firstColumn', 'n');
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
export const tail = ({ sizes }: TiledProduct): string => `let scale = bitcast<f32>(sizes[${sizes.length}]);
  let flags = sizes[${sizes.length + 1}];
  let hasBias = (flags & ${FLAGS.bias}u) != 0u; let hasRest = (flags & ${FLAGS.rest}u) != 0u; let half = (flags & ${FLAGS.half}u) != 0u;`;

/** Statements that write four results of a row, or one, if they are within bounds. With `adds` something may be added to them, of which loads are under way at a time. */
export function write(p: TiledProduct, sums: string, row: string, column: string, adds: boolean): string {
  const by = p.wide ? ' / 4u' : '';
  const more = packs(p) ? 'vec4f(unpack2x16float(more.x), unpack2x16float(more.y))' : 'more';
  const keep = packs(p)
    ? `let bits = bitcast<vec4u>(sum);
        if (half) { result[at] = vec2u(pack2x16float(sum.xy), pack2x16float(sum.zw)); } else { result[2u * at] = bits.xy; result[2u * at + 1u] = bits.zw; }`
    : 'result[at] = sum;';
  // Where one of the two is not there, all threads load the same.
  const added = `let added = bias[select(0u, (${column})${by}, inside && hasBias)]; let more = rest[select(0u, at, inside && hasRest)];
      sum = select(sum, sum + added, hasBias); sum = select(sum, sum + ${more}, hasRest);`;
  return `{ let at = (offset + ${row} * n + ${column})${by}; let inside = ${row} < m && ${column} < n;
      var sum = ${sums} * scale; ${adds ? added : ''}
      if (inside) { ${keep} } }`;
}
