import { SIZES } from './attention-shaders.js';
import { namedSizes, sizesBinding } from './sizes.js';

// The shaders of attention.ts on tensor cores: products of 16 x 16 fragments that a subgroup of 32 threads holds, float16 added up in float32, over
// tensors stored in half precision. A fragment's numbers are nobody's in particular: scores go through the workgroup's memory, where each thread has
// some columns of one row, come back as float16 weights, and are multiplied again.

/** How a workgroup divides its work: its subgroups stand in `down` rows and `across` columns. */
export interface MatrixPlan {
  readonly down: number;
  readonly across: number;
  /** Rows of fragments that a subgroup has. */
  readonly each: number;
  /** Columns of a tile of scores. */
  readonly columns: number;
  /** Whether weights take the place of the scores that they were. A thread has a whole row then. */
  readonly over?: boolean;
}

export type MatrixShader = 'forward' | 'dq' | 'dk dv';

export const matrixRowsOf = ({ down, each }: MatrixPlan): number => 16 * down * each;

/** A row of a tile has so many numbers more than it needs, so that rows below each other lie in different banks. */
const PAD = 8;

const padded = (d: number, { across }: MatrixPlan): number => Math.ceil(d / (16 * across)) * 16 * across;

/** How many tiles of rows each shader keeps at a time. They, and what has scores and weights, are used in turns: what a workgroup does without lets more of them be under way. */
const TILES: Readonly<Record<MatrixShader, number>> = { forward: 1, dq: 1, 'dk dv': 2 };

/** What a plan takes of a workgroup's memory, in bytes. */
export const matrixMemoryOf = (shader: MatrixShader, d: number, plan: MatrixPlan): number =>
  2 * TILES[shader] * plan.columns * (padded(d, plan) + PAD) +
  matrixRowsOf(plan) * (plan.over ? 4 * (plan.columns + 4) : 6 * (plan.columns + PAD)) +
  (shader === 'dk dv' ? 8 * plan.columns : 16);

const WIDE: MatrixPlan = { down: 4, across: 2, each: 1, columns: 32 };
const NARROWER: MatrixPlan = { down: 2, across: 2, each: 1, columns: 32 };
const THICK: MatrixPlan = { down: 4, across: 1, each: 2, columns: 16 };
const OVER: MatrixPlan = { down: 4, across: 1, each: 2, columns: 32, over: true };
const tall = (columns: number): MatrixPlan => ({ down: 4, across: 1, each: 1, columns });

/**
 * In the order of preference: the first that fits is taken. Wide heads are divided among subgroups, so that sums and fragments fit the registers. An H200's multiprocessor gives
 * some 50 KiB to workgroups: of what takes no more than 24 KiB two are under way, than 16 KiB three, than 12 KiB four. Measured by test/bench/attention.mjs.
 */
const PLANS: Readonly<Record<MatrixShader, (d: number) => readonly MatrixPlan[]>> = {
  forward: (d) => {
    if (d <= 48) return [OVER, THICK, tall(16)];
    return d <= 96 ? [tall(32)] : d <= 160 ? [WIDE, NARROWER] : [NARROWER];
  },
  dq: (d) => {
    if (d <= 48) return [THICK, tall(16)];
    if (d <= 96) return d > 64 && d <= 80 ? [THICK] : [tall(32)];
    return d <= 160 ? [WIDE, NARROWER] : [NARROWER];
  },
  'dk dv': (d) => (d <= 48 ? [THICK, tall(16)] : d <= 96 ? [tall(16)] : [NARROWER]),
};

/** The widest heads whose fragments fit the registers. */
const WIDEST = 256;

/** A plan for heads of d numbers and a workgroup's memory in bytes, if there is one. */
export const matrixPlanFor = (shader: MatrixShader, d: number, memory: number): MatrixPlan | undefined =>
  d % 8 === 0 && d <= WIDEST ? PLANS[shader](d).find((plan) => matrixMemoryOf(shader, d, plan) <= memory) : undefined;

type Length = 'lq' | 'lk';

const list = (count: number, text: (i: number) => string): string => Array.from({ length: count }, (_, i) => text(i)).join('\n');

const FRAGMENT = {
  left: 'subgroup_matrix_left<f16, 16, 16>',
  right: 'subgroup_matrix_right<f16, 16, 16>',
  result: 'subgroup_matrix_result<f32, 16, 16>',
};

const load = (kind: keyof typeof FRAGMENT, order: 'row_major' | 'col_major', array: string, at: string, stride: number): string =>
  `subgroupMatrixLoad<${FRAGMENT[kind]}, ${order}>(&${array}, ${at}, ${stride}u)`;

/** Before a row's scores may exceed what they are taken relative to by more than this (a power of two), its sums are rescaled. */
const ROOM = 14;
/** What a row's largest score is then relative to it, so that small ones are not lost to float16. */
const LIFT = 6;
/** The power of two by which probabilities are multiplied backward, for the same reason. */
const LIFT_BACKWARD = 10;

/** The text of shaders for one width of heads. */
class Writer {
  readonly rows: number;
  readonly threads: number;
  /** Threads of a row. */
  readonly share: number;
  /** Fragments of a row of a subgroup's: of scores, and of a result. */
  readonly scoreFragments: number;
  readonly fragments: number;
  /** Vectors of 4 in a row of a tile, and of scores or weights. */
  readonly tileStride: number;
  readonly stride: number;
  /** Vectors of scores that a thread has. */
  readonly quads: number;
  private readonly width: number;

  constructor(
    readonly shader: MatrixShader,
    readonly d: number,
    readonly plan: MatrixPlan,
  ) {
    const { columns, across, down, each } = plan;
    this.rows = matrixRowsOf(plan);
    this.threads = 32 * down * across;
    this.share = this.threads / this.rows;
    this.width = padded(d, plan);
    this.scoreFragments = columns / 16 / across;
    this.fragments = this.width / 16 / across;
    this.tileStride = (this.width + PAD) / 4;
    this.stride = (columns + (plan.over ? 4 : PAD)) / 4;
    this.quads = columns / 4 / this.share;
    if (!Number.isInteger(this.share) || !Number.isInteger(this.scoreFragments) || this.quads % 2 || each < 1)
      throw new Error(`no such plan: ${JSON.stringify(plan)}`);
  }

  /** Where a second tile begins. */
  get second(): number {
    return this.plan.columns * this.tileStride;
  }

  get scale(): string {
    return `${Math.LOG2E / Math.sqrt(this.d)}f`;
  }

  declarations(read: readonly string[], numbers: readonly string[], written: readonly string[], type: string, logs: string): string {
    const bindings = [
      ...read.map((name) => `<storage, read> ${name}: array<vec4u>`),
      ...numbers.map((name) => `<storage, read> ${name}: array<f32>`),
      ...written.map((name) => `<storage, read_write> ${name}: array<${type}>`),
      ...(logs ? [`<storage, read_write> ${logs}: array<f32>`] : []),
    ];
    // That a subgroup's number is uniform is not known to the compiler.
    return `diagnostic(off, chromium.subgroup_matrix_uniformity);
enable f16;
enable subgroups;
enable chromium_experimental_subgroup_matrix;
${bindings.map((binding, i) => `@group(0) @binding(${i}) var${binding};`).join('\n')}
${sizesBinding(bindings.length)}
var<workgroup> tile: array<vec4h, ${TILES[this.shader] * this.second}>;
var<workgroup> scores: array<vec4f, ${this.rows * this.stride}>;
${this.plan.over ? '' : `var<workgroup> weights: array<vec4h, ${this.rows * this.stride}>;`}
fn packed(a: vec4f, b: vec4f) -> vec4u {
  return vec4u(pack2x16float(a.xy), pack2x16float(a.zw), pack2x16float(b.xy), pack2x16float(b.zw));
}
`;
  }

  head(): string {
    const { plan, rows, share, threads } = this;
    return `@compute @workgroup_size(${threads})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) local: u32) {
  ${namedSizes(SIZES)}
  let first = group.x * ${rows}u;
  let head = group.y;
  // Slices of the queries follow each other as examples do.
  let n = group.z % batch;
  let slice = group.z / batch;
  let rowBase = (n * heads + head) * lq;
  // Where this thread's subgroup stands, and which row's scores are this thread's: vectors \`part\`, \`part + share\`, ...
  let down = (local / 32u) / ${plan.across}u * ${plan.each}u;
  let across = (local / 32u) % ${plan.across}u;
  let row = local / ${share}u;
  let part = local % ${share}u;
  let turn = ((row >> 2u) ^ (row >> 3u)) & 1u;`;
  }

  /**
   * Which of its row's vectors is a thread's j-th: those of a row are dealt out in turns. Where a thread has a whole row, its neighbours of eight and of sixteen
   * rows would meet in the same banks; so half of them take each two vectors the other way round.
   */
  vector = (j: number): string => (this.plan.over ? `${j}u` : this.share === 1 ? `(${j}u ^ turn)` : `(part + ${this.share * j}u)`);

  private at = (length: Length, row: string): string => `((n * ${length} + ${row}) * heads + head) * ${this.d / 8}u`;

  private put = (at: string, value: string): string =>
    `tile[${at}] = bitcast<vec4h>(${value}.xy); tile[${at} + 1u] = bitcast<vec4h>(${value}.zw);`;

  /** Where weights stand, and how many of its elements 16 of them are. Their bits are kept as they are in the place of scores, too: nothing reckons with them there. */
  private get weights(): { readonly array: string; readonly of16: number } {
    return this.plan.over ? { array: 'scores', of16: 2 } : { array: 'weights', of16: 4 };
  }

  /** Left fragments `name` of a subgroup's rows of an array, through the weights' memory: as many at a time as it has room for. */
  left(name: string, array: string, length: Length): string {
    const { plan, rows, threads, stride } = this;
    const room = plan.columns / 16;
    const count = this.width / 16;
    return list(Math.ceil(count / room), (batch) => {
      const here = Math.min(room, count - batch * room);
      return `workgroupBarrier();
  for (var e = local; e < ${rows * 2 * here}u; e += ${threads}u) {
    let r = e / ${2 * here}u; let c = e % ${2 * here}u;
    var v = vec4u();
    if (first + r < ${length} && ${2 * batch * room}u + c < ${this.d / 8}u) { v = ${array}[${this.at(length, '(first + r)')} + ${2 * batch * room}u + c]; }
    ${plan.over ? `scores[r * ${stride}u + c] = bitcast<vec4f>(v);` : `weights[r * ${stride}u + 2u * c] = bitcast<vec4h>(v.xy); weights[r * ${stride}u + 2u * c + 1u] = bitcast<vec4h>(v.zw);`}
  }
  workgroupBarrier();
  ${list(plan.each, (i) =>
    list(
      here,
      (k) =>
        `let ${name}${i}_${batch * room + k} = ${load('left', 'row_major', this.weights.array, `(down + ${i}u) * ${16 * stride}u + ${this.weights.of16 * k}u`, stride)};`,
    ),
  )}`;
    });
  }

  /** The vectors of a tile that each thread brings. */
  private get rounds(): number {
    return Math.ceil((this.plan.columns * this.d) / 8 / this.threads);
  }

  declareNext = (name: string): string => list(this.rounds, (i) => `var ${name}${i}: vec4u;`);

  private vectors(body: (i: number) => string): string {
    const [count, wide] = [(this.plan.columns * this.d) / 8, this.d / 8];
    return list(this.rounds, (i) => {
      const at = `{ let e = local + ${i * this.threads}u; let r = e / ${wide}u; let c = e % ${wide}u; `;
      return `${at} ${(i + 1) * this.threads > count ? `if (e < ${count}u) { ${body(i)} }` : body(i)} }`;
    });
  }

  /** Reads rows `start`.. of an array into registers `name`, */
  fetch = (name: string, array: string, length: Length, start: string): string =>
    this.vectors(
      (i) => `${name}${i} = vec4u(); if (${start} + r < ${length}) { ${name}${i} = ${array}[${this.at(length, `(${start} + r)`)} + c]; }`,
    );

  /** and puts them into a tile, which begins at `offset`. */
  place = (name: string, offset: number): string =>
    this.vectors((i) => this.put(`${offset}u + r * ${this.tileStride}u + 2u * c`, `${name}${i}`));

  /** Writes left fragments times the tile at `offset`, transposed, as scores. */
  scores(left: string, offset: number): string {
    const { plan, scoreFragments, tileStride, stride } = this;
    const all = (body: (i: number, j: number) => string) => list(plan.each, (i) => list(scoreFragments, (j) => body(i, j)));
    // Dawn does not set to 0 again what is declared in a loop without a value.
    return `{ ${all((i, j) => `var s${i}_${j} = ${FRAGMENT.result}();`)}
    ${list(
      this.width / 16,
      (
        k,
      ) => `{ ${list(scoreFragments, (j) => `let b${j} = ${load('right', 'col_major', 'tile', `${offset + 4 * k}u + (across * ${scoreFragments}u + ${j}u) * ${16 * tileStride}u`, tileStride)};`)}
      ${all((i, j) => `s${i}_${j} = subgroupMatrixMultiplyAccumulate(${left}${i}_${k}, b${j}, s${i}_${j});`)} }`,
    )}
    ${all((i, j) => `subgroupMatrixStore<row_major>(&scores, (down + ${i}u) * ${16 * stride}u + (across * ${scoreFragments}u + ${j}u) * 4u, s${i}_${j}, ${stride}u);`)} }`;
  }

  /** Fragments of a result. */
  declareSums = (name: string): string =>
    list(this.plan.each, (i) => list(this.fragments, (f) => `var ${name}${i}_${f}: ${FRAGMENT.result};`));

  /** name += weights times the tile at `offset`. */
  weigh(name: string, offset: number): string {
    const { plan, fragments, tileStride, stride } = this;
    return list(
      plan.columns / 16,
      (
        k,
      ) => `{ ${list(plan.each, (i) => `let w${i} = ${load('left', 'row_major', this.weights.array, `${this.weights.of16 * k}u + (down + ${i}u) * ${16 * stride}u`, stride)};`)}
    ${list(
      fragments,
      (
        f,
      ) => `{ let b = ${load('right', 'row_major', 'tile', `${offset + 16 * k * tileStride + 4 * f}u + across * ${4 * fragments}u`, tileStride)};
      ${list(plan.each, (i) => `${name}${i}_${f} = subgroupMatrixMultiplyAccumulate(w${i}, b, ${name}${i}_${f});`)} }`,
    )} }`,
    );
  }

  /** Brings a result's fragments to the scores' memory, as many at a time as it has room for, and does something with each such batch. */
  private batches(name: string, use: (batch: number) => string): string {
    const { plan, fragments, scoreFragments: room, stride } = this;
    return list(this.batchCount, (batch) => {
      const here = (body: (fragment: string, at: string) => string) =>
        list(plan.each, (i) =>
          list(Math.min(room, fragments - batch * room), (f) =>
            body(`${name}${i}_${batch * room + f}`, `(down + ${i}u) * ${16 * stride}u + (across * ${room}u + ${f}u) * 4u`),
          ),
        );
      return `workgroupBarrier();
      ${here((fragment, at) => `subgroupMatrixStore<row_major>(&scores, ${at}, ${fragment}, ${stride}u);`)}
      workgroupBarrier();
      ${use(batch)}`;
    });
  }

  private get batchCount(): number {
    return Math.ceil(this.fragments / this.scoreFragments);
  }

  private held(use: (name: string, at: string) => string, batch: number): string {
    return list(this.quads, (j) => use(`held${batch}_${j}`, `scores[row * ${this.stride}u + ${this.vector(j)}]`));
  }

  /** A thread's part of a row of a result that was taken out of fragments: their numbers cannot be multiplied where they are. */
  declareHeld = (): string => list(this.batchCount, (batch) => this.held((name) => `var ${name} = vec4f();`, batch));

  /** Takes a result out of its fragments, which are 0 then, and multiplies all that was taken out of them by a factor. */
  rescale = (name: string, factor: string): string => `${this.batches(name, (batch) =>
    this.held((held, at) => `${held} = (${held} + ${at}) * ${factor};`, batch),
  )}
    ${list(this.plan.each, (i) => list(this.fragments, (f) => `${name}${i}_${f} = ${FRAGMENT.result}();`))}`;

  /** Writes a result, times `factor`, as example `n`: in half precision, or whole. */
  store(name: string, to: string, length: Length, n: string, factor: string, { whole = false, held = false } = {}): string {
    const { d, share, stride, fragments, scoreFragments: room } = this;
    return this.batches(
      name,
      (batch) => `${held ? `${this.held((one, at) => `${at} += ${one};`, batch)} workgroupBarrier();` : ''}
      if (first + row < ${length}) {
        for (var j = 0u; j < ${this.quads / 2}u; j++) {
          let u = part + ${share}u * j;
          let within = ${2 * room * batch}u + u % ${2 * room}u;
          let q = u / ${2 * room}u * ${2 * fragments}u + within;
          if (within < ${2 * fragments}u && q < ${d / 8}u) {
            let a = scores[row * ${stride}u + 2u * u] * ${factor}; let b = scores[row * ${stride}u + 2u * u + 1u] * ${factor};
            let at = ((${n} * ${length} + first + row) * heads + head) * ${d / 8}u + q;
            ${whole ? `${to}[2u * at] = a; ${to}[2u * at + 1u] = b;` : `${to}[at] = packed(a, b);`}
          }
        }
      }`,
    );
  }

  /** Names a thread's vectors of scores. */
  mine = (name: string): string => list(this.quads, (j) => `var ${name}${j} = scores[row * ${this.stride}u + ${this.vector(j)}];`);

  /** In the last tile: `name` is `value` past the end. */
  masked = (name: string, value: string): string => `if (start + ${this.plan.columns}u > lk) {
      ${list(this.quads, (j) => `${name}${j} = select(vec4f(${value}), ${name}${j}, vec4u(start + 4u * ${this.vector(j)}) + vec4u(0u, 1u, 2u, 3u) < vec4u(lk));`)}
    }`;

  setWeights = (value: (j: number) => string): string =>
    this.plan.over
      ? list(
          this.quads / 2,
          (j) =>
            `scores[row * ${this.stride}u + ${j}u] = bitcast<vec4f>(vec4u(bitcast<vec2u>(vec4h(${value(2 * j)})), bitcast<vec2u>(vec4h(${value(2 * j + 1)}))));`,
        )
      : list(this.quads, (j) => `weights[row * ${this.stride}u + ${this.vector(j)}] = vec4h(${value(j)});`);

  /** Combines `name` over the threads of a row. */
  together(name: string, combine: (a: string, b: string) => string): string {
    let text = '';
    for (let step = 1; step < this.share; step *= 2) text += `${name} = ${combine(name, `subgroupShuffleXor(${name}, ${step}u)`)}; `;
    return text;
  }
}

const tree = (terms: readonly string[], combine: (a: string, b: string) => string): string =>
  terms.length === 1 ? terms[0] : combine(tree(terms.slice(0, terms.length >> 1), combine), tree(terms.slice(terms.length >> 1), combine));
const largest = (a: string, b: string): string => `max(${a}, ${b})`;
const added = (a: string, b: string): string => `(${a} + ${b})`;

/**
 * A row's exponentials are relative to a score of some tiles ago: only when one exceeds it by far is what was summed up rescaled, since that takes the
 * way through the memory.
 */
export function forwardMatrixShader(d: number, plan: MatrixPlan): string {
  const w = new Writer('forward', d, plan);
  const names = Array.from({ length: w.quads }, (_, j) => `x${j}`);
  return `${w.declarations(['queries', 'keys', 'values'], [], ['result'], 'vec4u', 'sumLogs')}
// Fragments are read from multiples of 16 bytes: no variable of the workgroup's may be shorter, or those behind it begin at others (as on an H200).
var<workgroup> changed: vec4u;
${w.head()}
  ${w.left('q', 'queries', 'lq')}
  ${w.declareSums('o')}
  ${w.declareHeld()}
  var reference = -3e38f;
  var total = 0f;
  ${w.declareNext('k')}
  ${w.declareNext('v')}
  ${w.fetch('k', 'keys', 'lk', '0u')}
  for (var start = 0u; start < lk; start += ${plan.columns}u) {
    workgroupBarrier();
    ${w.place('k', 0)}
    workgroupBarrier();
    // Values take the place of the keys as soon as their scores are written, and the next keys that of the values as soon as these were multiplied.
    ${w.fetch('v', 'values', 'lk', 'start')}
    ${w.fetch('k', 'keys', 'lk', `(start + ${plan.columns}u)`)}
    ${w.scores('q', 0)}
    workgroupBarrier();
    ${w.mine('x')}
    ${w.masked('x', '-3e38f')}
    let tops = ${tree(names, largest)};
    var top = max(max(tops.x, tops.y), max(tops.z, tops.w));
    ${w.together('top', largest)}
    top *= ${w.scale};
    var factor = 1f;
    if (top > reference + ${ROOM}f) {
      let next = top - ${LIFT}f;
      factor = exp2(reference - next);
      reference = next;
      total *= factor;
      changed.x = 1u;
    }
    ${list(w.quads, (j) => `x${j} = exp2(x${j} * ${w.scale} - reference);`)}
    ${plan.over ? '' : w.setWeights((j) => `x${j}`)}
    let sum = ${tree(names, added)};
    total += (sum.x + sum.y) + (sum.z + sum.w);
    ${w.place('v', 0)}
    if (workgroupUniformLoad(&changed).x != 0u) {
      ${w.rescale('o', 'factor')}
      if (local == 0u) { changed.x = 0u; }
      workgroupBarrier();
    }
    ${plan.over ? `${w.setWeights((j) => `x${j}`)} workgroupBarrier();` : ''}
    ${w.weigh('o', 0)}
  }
  ${w.together('total', added)}
  if (part == 0u && first + row < lq) { sumLogs[rowBase + first + row] = reference * ${Math.LN2}f + log(total); }
  ${w.store('o', 'result', 'lq', 'n', '(1f / total)', { held: true })}
}`;
}

const GRADIENT_INPUTS = ['queries', 'keys', 'values', 'dy'];

/** dq: a tile of queries walks along the keys. */
export function queryMatrixShader(d: number, plan: MatrixPlan): string {
  const w = new Writer('dq', d, plan);
  return `${w.declarations(GRADIENT_INPUTS, ['sumLogs', 'deltas'], ['dq'], 'vec4u', '')}
${w.head()}
  ${w.left('q', 'queries', 'lq')}
  ${w.left('y', 'dy', 'lq')}
  ${w.declareSums('o')}
  let at = rowBase + min(first + row, lq - 1u);
  let log = sumLogs[at] * ${Math.LOG2E}f;
  let mean = deltas[at];
  ${w.declareNext('k')}
  ${w.declareNext('v')}
  ${w.fetch('k', 'keys', 'lk', '0u')}
  ${w.fetch('v', 'values', 'lk', '0u')}
  for (var start = 0u; start < lk; start += ${plan.columns}u) {
    workgroupBarrier();
    ${w.place('v', 0)}
    workgroupBarrier();
    ${w.fetch('v', 'values', 'lk', `(start + ${plan.columns}u)`)}
    ${w.scores('y', 0)}
    workgroupBarrier();
    ${w.mine('g')}
    ${w.place('k', 0)}
    workgroupBarrier();
    ${w.fetch('k', 'keys', 'lk', `(start + ${plan.columns}u)`)}
    ${w.scores('q', 0)}
    workgroupBarrier();
    ${w.mine('x')}
    ${list(w.quads, (j) => `x${j} = exp2(x${j} * ${w.scale} - log) * (g${j} - mean);`)}
    ${w.masked('x', '0f')}
    ${w.setWeights((j) => `x${j}`)}
    workgroupBarrier();
    ${w.weigh('o', 0)}
  }
  ${w.store('o', 'dq', 'lq', 'n', `${1 / Math.sqrt(d)}f`)}
}`;
}

/** dk and dv: a tile of keys walks along the queries, or along one slice of them, whose results are `partial`: float32. */
export function keyMatrixShader(d: number, plan: MatrixPlan, partial: boolean): string {
  const w = new Writer('dk dv', d, plan);
  const quads = plan.columns / 4;
  // Past the last query, exponentials are 0.
  const fetchRows = (start: string) => `if (local < ${quads}u) {
      for (var i = 0u; i < 4u; i++) {
        let r = ${start} + 4u * local + i;
        log[i] = 3e38f; mean[i] = 0f;
        if (r < lq) { log[i] = sumLogs[rowBase + r] * ${Math.LOG2E}f - ${LIFT_BACKWARD}f; mean[i] = deltas[rowBase + r]; }
      }
    }`;
  return `${w.declarations(GRADIENT_INPUTS, ['sumLogs', 'deltas'], ['dk', 'dv'], partial ? 'vec4f' : 'vec4u', '')}
var<workgroup> logs: array<vec4f, ${quads}>;
var<workgroup> means: array<vec4f, ${quads}>;
${w.head()}
  ${w.left('k', 'keys', 'lk')}
  ${w.left('v', 'values', 'lk')}
  ${w.declareSums('a')}
  ${w.declareSums('b')}
  ${w.declareNext('q')}
  ${w.declareNext('y')}
  var log: vec4f;
  var mean: vec4f;
  ${w.fetch('q', 'queries', 'lq', '(slice * depth)')}
  ${w.fetch('y', 'dy', 'lq', '(slice * depth)')}
  ${fetchRows('slice * depth')}
  for (var start = slice * depth; start < min(lq, (slice + 1u) * depth); start += ${plan.columns}u) {
    workgroupBarrier();
    ${w.place('q', 0)}
    ${w.place('y', w.second)}
    if (local < ${quads}u) { logs[local] = log; means[local] = mean; }
    workgroupBarrier();
    ${w.fetch('q', 'queries', 'lq', `(start + ${plan.columns}u)`)}
    ${w.fetch('y', 'dy', 'lq', `(start + ${plan.columns}u)`)}
    ${fetchRows(`start + ${plan.columns}u`)}
    ${w.scores('k', 0)}
    workgroupBarrier();
    ${w.mine('x')}
    workgroupBarrier();
    ${w.scores('v', w.second)}
    workgroupBarrier();
    ${w.mine('g')}
    ${list(w.quads, (j) => `{ let at = ${w.vector(j)}; x${j} = exp2(x${j} * ${w.scale} - logs[at]); g${j} = x${j} * ${2 ** -LIFT_BACKWARD}f * (g${j} - means[at]); }`)}
    ${w.setWeights((j) => `x${j}`)}
    workgroupBarrier();
    ${w.weigh('b', w.second)}
    workgroupBarrier();
    ${w.setWeights((j) => `g${j}`)}
    workgroupBarrier();
    ${w.weigh('a', 0)}
  }
  ${w.store('a', 'dk', 'lk', 'group.z', `${1 / Math.sqrt(d)}f`, { whole: partial })}
  ${w.store('b', 'dv', 'lk', 'group.z', `${2 ** -LIFT_BACKWARD}f`, { whole: partial })}
}`;
}
