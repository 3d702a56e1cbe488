import { arrayOf, type Operand } from './operands.js';
import { declarations, each, head, type Term, type TiledProduct, tail, walk, write } from './tiles.js';

/** Steps along the inner axis: two fragments. */
export const CORE_DEPTH = 32;

/** Rows of a tile in workgroup memory are so much longer, which spreads them over the banks. */
const PAD = 8;

/** A tile as subgroups share it: so many along rows and columns, each with so many fragments of 16 by 16. */
interface Shares {
  readonly down: number;
  readonly across: number;
  readonly fragments: readonly [number, number];
}

/**
 * The tiles that there are, as rows x columns. A workgroup must not have more than some 25 KiB of memory: an H200 then has two of the largest tile under way on a
 * multiprocessor, else one, at 0.6 of the rate.
 */
const SHARES: Readonly<Record<string, Shares>> = {
  '128x128': { down: 2, across: 2, fragments: [4, 4] },
  '128x64': { down: 2, across: 2, fragments: [4, 2] },
  '32x64': { down: 1, across: 4, fragments: [2, 1] },
};

const HEADER = `diagnostic(off, chromium.subgroup_matrix_uniformity);
enable f16; enable subgroups; enable chromium_experimental_subgroup_matrix;`;

/** Where a tile's number (outer, inner) stands: as it stands in memory, so that nothing is turned around. */
const stride = (operand: Operand, extent: number): number => (operand.along === 'inner' ? CORE_DEPTH : extent) + PAD;

/** Length of a tile in workgroup memory, in fours. */
const length = (operand: Operand, extent: number): number =>
  ((operand.along === 'inner' ? extent : CORE_DEPTH) * stride(operand, extent)) / 4;

/** Keeps a loaded value in the tile. */
function store(operand: Operand, tile: string, extent: number, value: string, outer: string, inner: string): string {
  const place =
    operand.along === 'inner'
      ? `(${outer}) * ${stride(operand, extent)}u + ${inner}`
      : `(${inner}) * ${stride(operand, extent)}u + ${outer}`;
  const type = arrayOf(operand);
  if (type === 'vec4u')
    return `{ let at = (${place}) / 4u; ${tile}[at] = bitcast<vec4h>(${value}.xy); ${tile}[at + 1u] = bitcast<vec4h>(${value}.zw); }`;
  if (type === 'vec4f') return `${tile}[(${place}) / 4u] = vec4h(${value});`;
  return `{ let at = ${place}; ${tile}[at / 4u][at % 4u] = f16(${value}); }`;
}

/** Statements that multiply a step of the tiles. */
function multiplied(p: TiledProduct, term: Term, { fragments: [fr, fc] }: Shares): string {
  /** The fragment whose first number is at (outer, inner). Along the inner axis, rows of the left operand stand one after another, and columns of the right. */
  const fragment = (operand: Operand, side: 'left' | 'right', tileName: string, extent: number, outer: string, inner: number): string => {
    const long = stride(operand, extent);
    const isRows = (side === 'left') === (operand.along === 'inner');
    const place = operand.along === 'inner' ? `(${outer}) * ${long}u + ${inner}u` : `${inner * long}u + ${outer}`;
    return `subgroupMatrixLoad<subgroup_matrix_${side}<f16, 16, 16>, ${isRows ? 'row' : 'col'}_major>(&${tileName}, (${place}) / 4u, ${long / 4}u)`;
  };
  return each(
    CORE_DEPTH / 16,
    (q) => `{
          ${each(fr, (i) => `let a${i} = ${fragment(term.a, 'left', 'tileA', p.rows, `myRow + ${16 * i}u`, 16 * q)};`)}
          ${each(fc, (j) => `let b${j} = ${fragment(term.b, 'right', 'tileB', p.columns, `myColumn + ${16 * j}u`, 16 * q)};`)}
          ${each(fr, (i) => each(fc, (j) => `s${i}_${j} = subgroupMatrixMultiplyAccumulate(a${i}, b${j}, s${i}_${j});`))}
        }`,
  );
}

/**
 * The shader of a product on tensor cores: float16 operands, whatever they are stored as, float32 sums. Each subgroup has a share of the tile in
 * fragments; its sums pass through workgroup memory on their way out, a fragment at a time.
 */
export function tensorCoreTiles(p: TiledProduct): string {
  const shares = SHARES[`${p.rows}x${p.columns}`];
  const {
    down,
    across,
    fragments: [fr, fc],
  } = shares;
  const width = 16 * fc;
  const threads = 32 * down * across;
  const unit = p.wide ? 4 : 1;
  const longest = (of: (term: Term) => number): number => Math.max(...p.terms.map(of));
  return `${HEADER}
${declarations(p)}
var<workgroup> tileA: array<vec4h, ${longest(({ a }) => length(a, p.rows))}>;
var<workgroup> tileB: array<vec4h, ${longest(({ b }) => length(b, p.columns))}>;
var<workgroup> out: array<${unit === 4 ? 'vec4f' : 'f32'}, ${(down * across * 256) / unit}>;
${p.functions}
@compute @workgroup_size(${threads}) fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) local: u32) {
  ${head(p)}
  let subgroup = local / 32u;
  let lane = local % 32u;
  let myRow = subgroup / ${across}u * ${16 * fr}u;
  let myColumn = subgroup % ${across}u * ${width}u;
  let mine = subgroup * ${256 / unit}u;
  ${each(fr * fc, (i) => `var s${Math.floor(i / fc)}_${i % fc}: subgroup_matrix_result<f32, 16, 16>;`)}
  ${p.terms.map((term, at) => walk(p, term, at, { depth: CORE_DEPTH, threads, store, multiply: multiplied(p, term, shares) })).join('\n')}
  ${tail(p)}
  ${each(fr, (i) =>
    each(
      fc,
      (j) => `workgroupBarrier();
  subgroupMatrixStore<row_major>(&out, mine, s${i}_${j}, ${16 / unit}u);
  workgroupBarrier();
  for (var e = lane; e < ${256 / unit}u; e += 32u) {
    let row = firstRow + myRow + ${16 * i}u + e / ${16 / unit}u; let column = firstColumn + myColumn + ${16 * j}u + e % ${16 / unit}u * ${unit}u;
    let value = out[mine + e];
    ${write(p, 'value', 'row', 'column', true)}
  }`,
    ),
  )}
}`;
}
