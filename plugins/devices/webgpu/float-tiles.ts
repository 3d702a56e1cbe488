import { arrayOf, type Operand } from './operands.js';
import { declarations, each, head, type TiledProduct, tail, walk, write } from './tiles.js';

/** Steps along the inner axis. */
export const FLOAT_DEPTH = 16;

const THREADS = 256;

/** Numbers of a tile that a thread reads at a time, of its share of an axis that is so long. */
const widthFor = (extent: number): number => Math.min(4, extent / 16);

/** A tile's rows in workgroup memory are this long: past the extent, so that threads write to different banks. */
const stride = (extent: number): number => extent + widthFor(extent);

const vector = (width: number): string => (width === 1 ? 'f32' : `vec${width}f`);

/** The numbers of a loaded value. */
const numbers = (operand: Operand, value: string): string[] =>
  ({
    f32: [value],
    vec4f: ['x', 'y', 'z', 'w'].map((c) => `${value}.${c}`),
    vec4u: ['x', 'y', 'z', 'w'].flatMap((c) => ['x', 'y'].map((h) => `unpack2x16float(${value}.${c}).${h}`)),
  })[arrayOf(operand) as 'f32' | 'vec4f' | 'vec4u'];

/** Keeps a loaded value in the tile, whose layout is [inner, outer]. */
function store(operand: Operand, tile: string, extent: number, value: string, outer: string, inner: string): string {
  const width = widthFor(extent);
  const list = numbers(operand, value);
  const at = (o: string, i: string) => `(${i}) * ${stride(extent)}u + ${o}`;
  if (operand.along === 'outer' && list.length % width === 0)
    return each(list.length / width, (j) => {
      const part = list.slice(j * width, (j + 1) * width);
      const whole = part.length === 4 && arrayOf(operand) === 'vec4f' ? value : width === 1 ? part[0] : `${vector(width)}(${part.join()})`;
      return `${tile}[(${at(`${outer} + ${j * width}u`, inner)}) / ${width}u] = ${whole};`;
    });
  return list
    .map((number, j) => {
      const place = operand.along === 'outer' ? at(`${outer} + ${j}u`, inner) : at(outer, `${inner} + ${j}u`);
      return width === 1 ? `${tile}[${place}] = ${number};` : `{ let at = ${place}; ${tile}[at / ${width}u][at % ${width}u] = ${number}; }`;
    })
    .join(' ');
}

/** Statements that multiply a step of the tiles. */
function multiplied({ rows, columns }: TiledProduct): string {
  const [wr, wc] = [widthFor(rows), widthFor(columns)];
  const part = (width: number, i: number) => (width === 1 ? '' : `[${i}]`);
  return `for (var q = 0u; q < ${FLOAT_DEPTH}u; q++) {
          ${each(rows / 16 / wr, (i) => `let a${i} = tileA[q * ${stride(rows) / wr}u + ${16 * i}u + myRow];`)}
          ${each(columns / 16 / wc, (j) => `let b${j} = tileB[q * ${stride(columns) / wc}u + ${16 * j}u + myColumn];`)}
          ${each(rows / 16, (r) =>
            each(
              columns / 16 / wc,
              (j) => `s${r}_${j} = fma(${vector(wc)}(a${Math.floor(r / wr)}${part(wr, r % wr)}), b${j}, s${r}_${j});`,
            ),
          )}
        }`;
}

/**
 * The shader of a product in float32 arithmetic: 256 threads compute a tile of rows by columns (16, 32, 64 or 128 each), of which each has rows / 16 by
 * columns / 16 in registers, in fours.
 */
export function floatTiles(p: TiledProduct): string {
  const { rows, columns } = p;
  const [wr, wc] = [widthFor(rows), widthFor(columns)];
  const result = (r: number, j: number, adds: boolean): string => {
    const row = `firstRow + ${Math.floor(r / wr) * 16 * wr}u + myRow * ${wr}u + ${r % wr}u`;
    const column = `firstColumn + ${j * 16 * wc}u + myColumn * ${wc}u`;
    if (p.wide && wc === 4) return `{ let row = ${row}; let column = ${column}; ${write(p, `s${r}_${j}`, 'row', 'column', adds)} }`;
    return each(
      wc,
      (c) =>
        `{ let row = ${row}; let column = ${column} + ${c}u; ${write(p, `s${r}_${j}${wc === 1 ? '' : `[${c}]`}`, 'row', 'column', adds)} }`,
    );
  };
  const results = (adds: boolean): string => each(rows / 16, (r) => each(columns / 16 / wc, (j) => result(r, j, adds)));
  return `${declarations(p)}
var<workgroup> tileA: array<${vector(wr)}, ${(FLOAT_DEPTH * stride(rows)) / wr}>;
var<workgroup> tileB: array<${vector(wc)}, ${(FLOAT_DEPTH * stride(columns)) / wc}>;
${p.functions}
@compute @workgroup_size(${THREADS}) fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) local: u32) {
  ${head(p)}
  let myRow = local / 16u;
  let myColumn = local % 16u;
  ${each(rows / 16, (r) => each(columns / 16 / wc, (j) => `var s${r}_${j} = ${vector(wc)}();`))}
  ${p.terms.map((term, at) => walk(p, term, at, { depth: FLOAT_DEPTH, threads: THREADS, store, multiply: multiplied(p) })).join('\n')}
  ${tail(p)}
  if (hasBias || hasRest) { ${results(true)} } else { ${results(false)} }
}`;
}

/** Whether results can be written in fours. */
export const writesFours = (columns: number): boolean => widthFor(columns) === 4;
