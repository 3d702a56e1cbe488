import { buffers } from './dispatch.js';
import { namedSizes, sizesBinding } from './sizes.js';

// The shaders of attention.ts, for heads of so many numbers.

/** Keys of a tile. */
export const KEYS = 64;

const scaleOf = (d: number): number => 1 / Math.sqrt(d);

const each = (count: number, text: (i: number) => string): string => Array.from({ length: count }, (_, i) => text(i)).join('\n');

/** Sums of each thread: it has the rows `myRow + 16 i` and columns `myColumn + 16 j` of a tile, `s`, `s0_0`, ... by name. */
const sums = (name: string, rows: number, columns: number): string =>
  each(rows / 16, (i) => each(columns / 16, (j) => `var ${name}${i}_${j} = 0f;`));

/** The numbers of a head, as columns of threads have them: a multiple of 16. */
const padded = (d: number): number => Math.ceil(d / 16) * 16;

/** A tile's rows: fewer where a head is so wide that a thread's sums would not fit its registers. */
export const rowsFor = (d: number, accumulators: number): number =>
  padded(d) * accumulators <= 192 ? 64 : padded(d) * accumulators <= 384 ? 32 : 16;

/** name[rows x KEYS] += left[rows x d] times right[KEYS x d] transposed; the operands are WGSL expressions in `r`, `c` and `q`. */
function scores(name: string, rows: number, d: number, left: string, right: string): string {
  const inner = d % 16 === 0 ? 16 : 8;
  const load = (to: string, count: number, row: string, value: string) =>
    `for (var e = local; e < ${count * inner}u; e += 256u) { let ${row} = e / ${inner}u; let q = base + e % ${inner}u;
      var value = 0f; if (q < ${d}u) { value = ${value}; } ${to}[(e % ${inner}u) * ${count + 1}u + ${row}] = value; }`;
  return `for (var base = 0u; base < ${d}u; base += ${inner}u) {
    workgroupBarrier();
    ${load('tileL', rows, 'r', left)}
    ${load('tileR', KEYS, 'c', right)}
    workgroupBarrier();
    for (var q = 0u; q < ${inner}u; q++) {
      ${each(rows / 16, (i) => `let a${i} = tileL[q * ${rows + 1}u + myRow + ${16 * i}u];`)}
      ${each(KEYS / 16, (j) => `let b${j} = tileR[q * ${KEYS + 1}u + myColumn + ${16 * j}u];`)}
      ${each(rows / 16, (i) => each(KEYS / 16, (j) => `${name}${i}_${j} = fma(a${i}, b${j}, ${name}${i}_${j});`))}
    }
  }`;
}

/** name[rows x d] += probabilities in `tileP` [rows x KEYS] times right[KEYS x d], an expression in `c` (the tile's row) and `q`. */
function weigh(name: string, rows: number, d: number, right: string): string {
  const width = padded(d);
  return `for (var base = 0u; base < ${KEYS}u; base += 8u) {
    workgroupBarrier();
    for (var e = local; e < ${8 * width}u; e += 256u) { let c = base + e / ${width}u; let q = e % ${width}u;
      var value = 0f; if (q < ${d}u) { value = ${right}; } tileV[e] = value; }
    workgroupBarrier();
    for (var k = 0u; k < 8u; k++) {
      ${each(rows / 16, (i) => `let p${i} = tileP[(myRow + ${16 * i}u) * ${KEYS + 1}u + base + k];`)}
      ${each(
        width / 16,
        (j) => `{ let v = tileV[k * ${width}u + myColumn + ${16 * j}u];
        ${each(rows / 16, (i) => `${name}${i}_${j} = fma(p${i}, v, ${name}${i}_${j});`)} }`,
      )}
    }
  }`;
}

/** Sizes that the shader reads, so that there is one for each width of heads. */
export const SIZES = ['heads', 'lq', 'lk', 'batch', 'depth'] as const;

/** Bindings, sizes and tiles. */
const declarations = (read: readonly string[], written: readonly string[], rows: number, d: number): string => `${buffers(read, written)}
${sizesBinding(read.length + written.length)}
var<workgroup> tileL: array<f32, ${16 * (rows + 1)}>;
var<workgroup> tileR: array<f32, ${16 * (KEYS + 1)}>;
var<workgroup> tileP: array<f32, ${rows * (KEYS + 1)}>;
var<workgroup> tileV: array<f32, ${8 * padded(d)}>;`;

const NAMED_SIZES = namedSizes(SIZES);

const head = (rows: number): string => `@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) local: u32) {
  ${NAMED_SIZES}
  let first = group.x * ${rows}u;
  let head = group.y;
  // Slices of the queries follow each other as examples do.
  let n = group.z % batch;
  let slice = group.z / batch;
  let myRow = local / 16u;
  let myColumn = local % 16u;`;

/** How many rows an array has, by the name of it in a shader. */
type Length = 'lq' | 'lk';

/** Where element `q` of this head stands in row `row` of example n. */
const at = (array: string, length: Length, d: number, row: string): string =>
  `${array}[(n * ${length} + ${row}) * heads * ${d}u + head * ${d}u + q]`;

/** The same, or 0 past the end. */
const upTo = (array: string, length: Length, d: number, row: string): string =>
  `select(0f, ${at(array, length, d, `min(${row}, ${length} - 1u)`)}, ${row} < ${length})`;

/** Writes a tile's sums, times `factor` (an expression in `i`, the row's number among the thread's), where rows and columns exist. */
const store = (name: string, to: string, rows: number, length: Length, d: number, factor = ''): string =>
  each(rows / 16, (i) =>
    each(
      padded(d) / 16,
      (j) => `{ let row = first + myRow + ${16 * i}u; let q = myColumn + ${16 * j}u;
      if (row < ${length} && q < ${d}u) { ${at(to, length, d, 'row')} = ${name}${i}_${j}${factor.replaceAll('ROW', `myRow + ${16 * i}u`)}; } }`,
    ),
  );

export function forwardShader(d: number): string {
  const scale = scaleOf(d);
  const rows = rowsFor(d, 1);
  // So many threads share a row of the softmax.
  const share = 256 / rows;
  return `${declarations(['queries', 'keys', 'values'], ['result', 'sumLogs'], rows, d)}
var<workgroup> some: array<f32, 256>;
var<workgroup> factors: array<f32, ${rows}>;
${head(rows)}
  ${sums('o', rows, padded(d))}
  let row = local / ${share}u;
  let part = local % ${share}u;
  var largest = -3e38f;
  var total = 0f;
  for (var start = 0u; start < lk; start += ${KEYS}u) {
    ${sums('s', rows, KEYS)}
    ${scores('s', rows, d, upTo('queries', 'lq', d, '(first + r)'), upTo('keys', 'lk', d, '(start + c)'))}
    ${each(rows / 16, (i) =>
      each(
        KEYS / 16,
        (j) =>
          `tileP[(myRow + ${16 * i}u) * ${KEYS + 1}u + myColumn + ${16 * j}u] = select(-3e38f, s${i}_${j} * ${scale}f, start + myColumn + ${16 * j}u < lk);`,
      ),
    )}
    workgroupBarrier();
    var top = largest;
    for (var c = part; c < ${KEYS}u; c += ${share}u) { top = max(top, tileP[row * ${KEYS + 1}u + c]); }
    some[local] = top;
    workgroupBarrier();
    for (var t = 0u; t < ${share}u; t++) { top = max(top, some[row * ${share}u + t]); }
    let factor = exp(largest - top);
    largest = top;
    var sum = 0f;
    for (var c = part; c < ${KEYS}u; c += ${share}u) {
      let p = exp(tileP[row * ${KEYS + 1}u + c] - top);
      tileP[row * ${KEYS + 1}u + c] = p;
      sum += p;
    }
    workgroupBarrier();
    some[local] = sum;
    if (part == 0u) { factors[row] = factor; }
    workgroupBarrier();
    total *= factor;
    for (var t = 0u; t < ${share}u; t++) { total += some[row * ${share}u + t]; }
    ${each(rows / 16, (i) => `{ let factor = factors[myRow + ${16 * i}u]; ${each(padded(d) / 16, (j) => `o${i}_${j} *= factor;`)} }`)}
    ${weigh('o', rows, d, upTo('values', 'lk', d, '(start + c)'))}
  }
  workgroupBarrier();
  if (part == 0u) {
    factors[row] = 1f / total;
    if (first + row < lq) { sumLogs[(n * heads + head) * lq + first + row] = largest + log(total); }
  }
  workgroupBarrier();
  ${store('o', 'result', rows, 'lq', d, ' * factors[ROW]')}
}`;
}

/** The sum of output times its gradient for each row and head: what the softmax's gradient takes off. */
export const deltaShader = (d: number): string => `${buffers(['result', 'dy'], ['deltas'])}
${sizesBinding(3)}
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
  ${NAMED_SIZES}
  let row = id.x / heads;
  let head = id.x % heads;
  let n = id.y;
  if (row >= lq) { return; }
  var sum = 0f;
  for (var q = 0u; q < ${d}u; q++) { sum += ${at('result', 'lq', d, 'row')} * ${at('dy', 'lq', d, 'row')}; }
  deltas[(n * heads + head) * lq + row] = sum;
}`;

/** dq: a tile of queries walks along the keys. */
export function queryShader(d: number): string {
  const scale = scaleOf(d);
  const rows = rowsFor(d, 1);
  return `${declarations(['queries', 'keys', 'values', 'dy', 'sumLogs', 'deltas'], ['dq'], rows, d)}
${head(rows)}
  ${sums('o', rows, padded(d))}
  let rowBase = (n * heads + head) * lq;
  ${each(rows / 16, (i) => `let at${i} = rowBase + min(first + myRow + ${16 * i}u, lq - 1u); let log${i} = sumLogs[at${i}]; let delta${i} = deltas[at${i}];`)}
  for (var start = 0u; start < lk; start += ${KEYS}u) {
    ${sums('s', rows, KEYS)}
    ${sums('g', rows, KEYS)}
    ${scores('s', rows, d, upTo('queries', 'lq', d, '(first + r)'), upTo('keys', 'lk', d, '(start + c)'))}
    ${scores('g', rows, d, upTo('dy', 'lq', d, '(first + r)'), upTo('values', 'lk', d, '(start + c)'))}
    ${each(rows / 16, (i) =>
      each(
        KEYS / 16,
        (j) => `tileP[(myRow + ${16 * i}u) * ${KEYS + 1}u + myColumn + ${16 * j}u] =
        select(0f, exp(s${i}_${j} * ${scale}f - log${i}) * (g${i}_${j} - delta${i}) * ${scale}f, start + myColumn + ${16 * j}u < lk);`,
      ),
    )}
    ${weigh('o', rows, d, upTo('keys', 'lk', d, '(start + c)'))}
  }
  ${store('o', 'dq', rows, 'lq', d)}
}`;
}

/** dk and dv: a tile of keys walks along the queries, or along one slice of them. */
export function keyShader(d: number): string {
  const scale = scaleOf(d);
  const rows = rowsFor(d, 2);
  return `${declarations(['queries', 'keys', 'values', 'dy', 'sumLogs', 'deltas'], ['dk', 'dv'], rows, d)}
${head(rows)}
  ${sums('x', rows, padded(d))}
  ${sums('y', rows, padded(d))}
  let rowBase = (n * heads + head) * lq;
  for (var start = slice * depth; start < min(lq, (slice + 1u) * depth); start += ${KEYS}u) {
    ${sums('s', rows, KEYS)}
    ${sums('g', rows, KEYS)}
    ${scores('s', rows, d, upTo('keys', 'lk', d, '(first + r)'), upTo('queries', 'lq', d, '(start + c)'))}
    ${scores('g', rows, d, upTo('values', 'lk', d, '(first + r)'), upTo('dy', 'lq', d, '(start + c)'))}
    ${each(
      KEYS / 16,
      (
        j,
      ) => `let at${j} = rowBase + min(start + myColumn + ${16 * j}u, lq - 1u); let log${j} = sumLogs[at${j}]; let delta${j} = deltas[at${j}];
      let live${j} = start + myColumn + ${16 * j}u < lq;
      ${each(
        rows / 16,
        (i) => `s${i}_${j} = select(0f, exp(s${i}_${j} * ${scale}f - log${j}), live${j});
        tileP[(myRow + ${16 * i}u) * ${KEYS + 1}u + myColumn + ${16 * j}u] = s${i}_${j};`,
      )}`,
    )}
    ${weigh('y', rows, d, upTo('dy', 'lq', d, '(start + c)'))}
    workgroupBarrier();
    ${each(KEYS / 16, (j) =>
      each(
        rows / 16,
        (i) => `tileP[(myRow + ${16 * i}u) * ${KEYS + 1}u + myColumn + ${16 * j}u] = s${i}_${j} * (g${i}_${j} - delta${j}) * ${scale}f;`,
      ),
    )}
    ${weigh('x', rows, d, upTo('queries', 'lq', d, '(start + c)'))}
  }
  let into = group.z;
  ${store('x', 'dk', rows, 'lk', d).replaceAll('dk[(n *', 'dk[(into *')}
  ${store('y', 'dv', rows, 'lk', d).replaceAll('dv[(n *', 'dv[(into *')}
}`;
}
