import { namedSizes, sizesBinding } from './sizes.js';

// The shaders of attention.ts, for heads of so many numbers, in float32 arithmetic. All are made of three things: tiles that are brought to the
// workgroup's memory with their axes exchanged, `scores` of two of them, and `weigh`, which adds up a tile's rows weighted by what became of the scores.

/** How tensors lie in memory: float32, read four at a time where heads allow it, or float16, four in two words. */
export type Storage = 'scalars' | 'vectors' | 'halves';

/** How a workgroup divides its work. Its threads stand in `down` rows and `across` columns. */
export interface Plan {
  readonly across: number;
  readonly down: number;
  /** Rows of a thread: 4 or 8. */
  readonly each: number;
  /** Numbers of a head that are in the workgroup's memory at a time. */
  readonly piece: number;
  /** Columns of a result that stand side by side in a thread: those that are written as one word. */
  readonly unit: number;
  /** Whether loops over a thread's registers are written out, or left to the driver's compiler. */
  readonly unrolled: boolean;
}

export const rowsOf = ({ down, each }: Plan): number => down * each;
/** Columns of a tile of scores: a thread has four. */
export const columnsOf = ({ across }: Plan): number => 4 * across;
export const threadsOf = ({ across, down }: Plan): number => across * down;

/** The numbers of a head, as threads have them. */
const padded = (d: number, { across, unit }: Plan): number => Math.ceil(d / (across * unit)) * across * unit;

// A row of a tile has one vector more, so that threads that read below each other meet different banks.
const strides = (plan: Plan) => ({ left: rowsOf(plan) / 4 + 1, right: plan.across + 1 });

/** What a plan takes of a workgroup's memory, in bytes. */
const memoryOf = (plan: Plan): number => {
  const { left, right } = strides(plan);
  return 16 * (plan.piece * (left + right) + rowsOf(plan) * right) + 4 * rowsOf(plan);
};

/** The plan with so many threads and rows of each: as much of a head at a time as a workgroup's memory, in bytes, has room for. */
export function planOf(threads: Pick<Plan, 'across' | 'down' | 'each'>, d: number, storage: Storage, memory: number): Plan {
  const unit = storage === 'halves' ? 2 : 1;
  const step = threads.across * unit;
  const whole = Math.ceil(d / step) * step;
  // Pieces of one size.
  for (let pieces = 1; ; pieces++) {
    const plan = { ...threads, unit, unrolled: false, piece: Math.ceil(whole / pieces / step) * step };
    if (memoryOf(plan) <= memory || plan.piece === step) return plan;
  }
}

/** Of no more rows than these a tile has few, and its shader is compiled in half the time. */
const SHORT = 64;

/**
 * The plan for heads of d numbers, so many results at a time and so many rows: wider heads leave fewer rows to a thread, so that its sums fit its
 * registers.
 */
export function planFor(d: number, results: number, storage: Storage, memory: number, rows = Number.POSITIVE_INFINITY): Plan {
  const sums = d * results;
  const [each, across, down] =
    sums <= 160 && rows <= SHORT
      ? [4, 8, 8]
      : sums <= 80
        ? [8, 8, 16]
        : sums <= 160
          ? [4, 8, 16]
          : sums <= 320 || storage === 'halves'
            ? [4, 16, 8]
            : [4, 32, 4];
  return planOf({ each, across, down }, d, storage, memory);
}

/** Sizes that the shader reads, so that there is one for each width of heads. */
export const SIZES = ['heads', 'lq', 'lk', 'batch', 'depth'] as const;

/** How many rows an array has, by the name of it in a shader. */
type Length = 'lq' | 'lk';

const list = (count: number, text: (i: number) => string): string => Array.from({ length: count }, (_, i) => text(i)).join('\n');

/** The text of shaders for one width of heads. */
class Writer {
  readonly rows: number;
  readonly columns: number;
  readonly threads: number;
  private readonly pieces: number;
  private readonly perPiece: number;

  constructor(
    readonly d: number,
    readonly storage: Storage,
    readonly plan: Plan,
    /** Whether results are float32 whatever the storage. */
    private readonly partial = false,
  ) {
    this.rows = rowsOf(plan);
    this.columns = columnsOf(plan);
    this.threads = threadsOf(plan);
    this.pieces = Math.ceil(padded(d, plan) / plan.piece);
    this.perPiece = plan.piece / plan.across;
  }

  /** The logarithm to base 2 of what a score's exponential is, over the score: exp2 is what a GPU has. */
  get scale(): string {
    return `${Math.LOG2E / Math.sqrt(this.d)}f`;
  }

  /** Whether a tile's numbers are all there at a time. */
  get whole(): boolean {
    return this.pieces === 1;
  }

  /** `body` for each `name` below count. */
  times(name: string, count: number, body: string): string {
    if (!this.plan.unrolled) return `for (var ${name} = 0u; ${name} < ${count}u; ${name}++) { ${body} }`;
    return list(count, (i) => `{ ${body.replaceAll(new RegExp(`\\b${name}\\b`, 'g'), `${i}u`)} }`);
  }

  /** The sums of one row of a thread. */
  private get sums(): number {
    return this.pieces * this.perPiece;
  }

  /** A thread's sums, one for each of its rows and columns of a result. */
  declareSums = (name: string): string => `var ${name}: array<f32, ${this.plan.each * this.sums}>;`;

  /** A thread's scores: of its rows, each with four columns. (What is declared in a loop without a value is not set to 0 again by Dawn.) */
  declareScores = (name: string): string => `var ${name} = array<vec4f, ${this.plan.each}>();`;

  /** Bindings and the workgroup's memory. Of what is read, `numbers` are float32 whatever the storage. */
  declarations(read: readonly string[], numbers: readonly string[], written: readonly string[]): string {
    const { plan, rows } = this;
    const { left, right } = strides(plan);
    const type = { scalars: 'f32', vectors: 'vec4f', halves: 'vec2u' }[this.storage];
    const bindings = [
      ...read.map((name) => `<storage, read> ${name}: array<${type}>`),
      ...numbers.map((name) => `<storage, read> ${name}: array<f32>`),
      ...written.map((name) => `<storage, read_write> ${name}: array<${this.storage === 'halves' && !this.partial ? 'u32' : 'f32'}>`),
    ];
    return `${bindings.map((binding, i) => `@group(0) @binding(${i}) var${binding};`).join('\n')}
var<workgroup> left: array<vec4f, ${plan.piece * left}>;
var<workgroup> right: array<vec4f, ${plan.piece * right}>;
var<workgroup> weights: array<vec4f, ${rows * right}>;
fn unpack(v: vec2u) -> vec4f { return vec4f(unpack2x16float(v.x), unpack2x16float(v.y)); }`;
  }

  head(bindings: number): string {
    const { across, down } = this.plan;
    return `${sizesBinding(bindings)}
@compute @workgroup_size(${across * down})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) local: u32) {
  ${namedSizes(SIZES)}
  let first = group.x * ${this.rows}u;
  let head = group.y;
  // Slices of the queries follow each other as examples do.
  let n = group.z % batch;
  let slice = group.z / batch;
  let x = local % ${across}u;
  let y = local / ${across}u;
  let rowBase = (n * heads + head) * lq;`;
  }

  /** Four numbers of this head from number `q` on, of row `row` of an array. */
  four(array: string, length: Length, row: string, q: string): string {
    const { d } = this;
    if (this.storage !== 'scalars') {
      const value = `${array}[((n * ${length} + ${row}) * heads + head) * ${d / 4}u + (${q}) / 4u]`;
      return this.storage === 'halves' ? `unpack(${value})` : value;
    }
    // In place of numbers past the head its last one is loaded: past the last head there may be no memory.
    const base = `((n * ${length} + ${row}) * heads + head) * ${d}u`;
    const one = (i: number) => `select(0f, ${array}[${base} + min(${q} + ${i}u, ${d - 1}u)], ${q} + ${i}u < ${d}u)`;
    return `vec4f(${[0, 1, 2, 3].map(one).join(', ')})`;
  }

  /** Brings piece `piece` of rows `start`.. of an array to `left` or `right`, number by number: 4 x 4 are turned at a time. */
  stage(to: 'left' | 'right', array: string, length: Length, start: string, piece: number): string {
    const { plan, d } = this;
    const stride = strides(plan)[to];
    const width = stride - 1;
    const base = piece * plan.piece;
    const quads = Math.ceil(Math.min(plan.piece, d - base) / 4);
    return `for (var e = local; e < ${width * quads}u; e += ${this.threads}u) {
      let block = e % ${width}u; let q = 4u * (e / ${width}u); let row = ${start} + 4u * block;
      var v: array<vec4f, 4>;
      ${this.times('i', 4, `v[i] = vec4f(); if (row + i < ${length}) { v[i] = ${this.four(array, length, '(row + i)', `(${base}u + q)`)}; }`)}
      ${this.times('i', 4, `${to}[(q + i) * ${stride}u + block] = vec4f(v[0][i], v[1][i], v[2][i], v[3][i]);`)}
    }`;
  }

  /** name += rows of array a times rows of array b, transposed. Where a whole head is in memory, `left` is there before. */
  scores(name: string, a: string, lengthA: Length, b: string, lengthB: Length, staged = false): string {
    const { plan, d } = this;
    const { left, right } = strides(plan);
    const step = this.times(
      'h',
      plan.each / 4,
      `let a = left[q * ${left}u + y + ${plan.down}u * h]; ${this.times('i', 4, `${name}[4u * h + i] = fma(vec4f(a[i]), b, ${name}[4u * h + i]);`)}`,
    );
    return list(
      this.pieces,
      (p) => `workgroupBarrier();
      ${staged ? '' : this.stage('left', a, lengthA, 'first', p)}
      ${this.stage('right', b, lengthB, 'start', p)}
      workgroupBarrier();
      for (var q = 0u; q < ${Math.min(plan.piece, d - p * plan.piece)}u; q++) { let b = right[q * ${right}u + x]; ${step} }`,
    );
  }

  /** Row number `i` of a thread in a tile of scores, and in a tile of a result. */
  scoreRow = (i: string): string => `(4u * (y + ${this.plan.down}u * (${i} / 4u)) + ${i} % 4u)`;
  resultRow = (i: string): string => `(y + ${this.plan.down}u * ${i})`;

  /** Writes a vector expression in `i`, the number of a thread's row, as that row's weights. */
  setWeights = (value: string): string =>
    this.times('i', this.plan.each, `weights[${this.scoreRow('i')} * ${strides(this.plan).right}u + x] = ${value};`);

  /** Number j of a thread's columns, within a piece. */
  private column(j: string): string {
    const { across, unit } = this.plan;
    return unit === 1 ? `(x + ${across}u * ${j})` : `(${unit}u * (x + ${across}u * (${j} / ${unit}u)) + ${j} % ${unit}u)`;
  }

  /** name += weights times rows of an array, after a barrier. `right` has them already where they were the last to be brought there. */
  weigh(name: string, array: string, length: Length, there = false): string {
    const { plan, sums, perPiece } = this;
    const { right } = strides(plan);
    const add = (p: number, at = `${name}[i * ${sums}u + ${p * perPiece}u + j]`) =>
      `${at} = fma(w[i].x, v.x, fma(w[i].y, v.y, fma(w[i].z, v.z, fma(w[i].w, v.w, ${at}))));`;
    return list(
      this.pieces,
      (p) => `${there && this.whole ? '' : `workgroupBarrier(); ${this.stage('right', array, length, 'start', p)}`}
      workgroupBarrier();
      for (var k = 0u; k < ${plan.across}u; k++) {
        var w: array<vec4f, ${plan.each}>;
        ${this.times('i', plan.each, `w[i] = weights[${this.resultRow('i')} * ${right}u + k];`)}
        ${this.times('j', perPiece, `let v = right[${this.column('j')} * ${right}u + k]; ${this.times('i', plan.each, add(p))}`)}
      }`,
    );
  }

  /** Multiplies a thread's sums by the factors of their rows. */
  rescale = (name: string, factors: string): string =>
    this.times(
      'i',
      this.plan.each,
      `let factor = ${factors}[${this.resultRow('i')}]; ${this.times('j', this.sums, `${name}[i * ${this.sums}u + j] *= factor;`)}`,
    );

  /** Writes a thread's sums, times `factor` (in `i`, its row's number), where rows and columns exist, as example `n`. */
  store(name: string, to: string, length: Length, n: string, factor: string): string {
    const { d, plan, sums, perPiece } = this;
    const value = (j: string) => `${name}[i * ${sums}u + ${j}] * ${factor}`;
    return list(this.pieces, (p) =>
      this.times(
        'i',
        plan.each,
        `let row = first + ${this.resultRow('i')}; let at = ((${n} * ${length} + row) * heads + head) * ${d}u;
        if (row < ${length}) { ${this.times(
          'j',
          perPiece / plan.unit,
          `let q = ${p * plan.piece}u + ${plan.unit}u * (x + ${plan.across}u * j);
          if (q < ${d}u) { ${
            plan.unit === 2
              ? this.pair(to, value(`${p * perPiece}u + 2u * j`), value(`${p * perPiece}u + 2u * j + 1u`))
              : `${to}[at + q] = ${value(`${p * perPiece}u + j`)};`
          } }`,
        )} }`,
      ),
    );
  }

  private pair = (to: string, a: string, b: string): string =>
    this.partial ? `${to}[at + q] = ${a}; ${to}[at + q + 1u] = ${b};` : `${to}[(at + q) / 2u] = pack2x16float(vec2f(${a}, ${b}));`;
}

const NATURAL = `${Math.LN2}f`;

export function forwardShader(d: number, storage: Storage, plan: Plan): string {
  const w = new Writer(d, storage, plan);
  const stride = plan.across + 1;
  return `${w.declarations(['queries', 'keys', 'values'], [], ['result'])}
@group(0) @binding(4) var<storage, read_write> sumLogs: array<f32>;
var<workgroup> factors: array<f32, ${w.rows}>;
${w.head(5)}
  ${w.declareSums('o')}
  // One thread a row; the others wait.
  var largest = -3e38f;
  var total = 0f;
  ${w.whole ? w.stage('left', 'queries', 'lq', 'first', 0) : ''}
  for (var start = 0u; start < lk; start += ${w.columns}u) {
    ${w.declareScores('s')}
    ${w.scores('s', 'queries', 'lq', 'keys', 'lk', w.whole)}
    let column = vec4u(start + 4u * x) + vec4u(0u, 1u, 2u, 3u);
    ${w.setWeights(`select(vec4f(-3e38f), s[i] * ${w.scale}, column < vec4u(lk))`)}
    workgroupBarrier();
    if (local < ${w.rows}u) {
      var top = vec4f(largest);
      for (var k = 0u; k < ${plan.across}u; k++) { top = max(top, weights[local * ${stride}u + k]); }
      let most = max(max(top.x, top.y), max(top.z, top.w));
      let factor = exp2(largest - most);
      largest = most;
      var sum = vec4f(0f);
      for (var k = 0u; k < ${plan.across}u; k++) {
        let p = exp2(weights[local * ${stride}u + k] - most);
        weights[local * ${stride}u + k] = p;
        sum += p;
      }
      factors[local] = factor;
      total = total * factor + sum.x + sum.y + sum.z + sum.w;
    }
    workgroupBarrier();
    ${w.rescale('o', 'factors')}
    ${w.weigh('o', 'values', 'lk')}
  }
  workgroupBarrier();
  if (local < ${w.rows}u) {
    factors[local] = 1f / total;
    if (first + local < lq) { sumLogs[rowBase + first + local] = largest * ${NATURAL} + log(total); }
  }
  workgroupBarrier();
  ${w.store('o', 'result', 'lq', 'n', `factors[${w.resultRow('i')}]`)}
}`;
}

/** The sum of output times its gradient for each row and head: what the softmax's gradient takes off. */
export function deltaShader(d: number, storage: Storage): string {
  const w = new Writer(d, storage, planFor(d, 1, storage, 0));
  return `${w.declarations(['result', 'dy'], [], [])}
@group(0) @binding(2) var<storage, read_write> deltas: array<f32>;
${sizesBinding(3)}
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
  ${namedSizes(SIZES)}
  let row = id.x / heads;
  let head = id.x % heads;
  let n = id.y;
  if (row >= lq) { return; }
  var sum = 0f;
  for (var q = 0u; q < ${d}u; q += 4u) { sum += dot(${w.four('result', 'lq', 'row', 'q')}, ${w.four('dy', 'lq', 'row', 'q')}); }
  deltas[(n * heads + head) * lq + row] = sum;
}`;
}

const GRADIENT_INPUTS = ['queries', 'keys', 'values', 'dy'];

/** dq: a tile of queries walks along the keys. */
export function queryShader(d: number, storage: Storage, plan: Plan): string {
  const w = new Writer(d, storage, plan);
  return `${w.declarations(GRADIENT_INPUTS, ['sumLogs', 'deltas'], ['dq'])}
${w.head(7)}
  ${w.declareSums('o')}
  var logs: array<f32, ${plan.each}>;
  var means: array<f32, ${plan.each}>;
  ${w.times('i', plan.each, `let at = rowBase + min(first + ${w.scoreRow('i')}, lq - 1u); logs[i] = sumLogs[at] * ${Math.LOG2E}f; means[i] = deltas[at];`)}
  for (var start = 0u; start < lk; start += ${w.columns}u) {
    ${w.declareScores('g')}
    ${w.declareScores('s')}
    ${w.scores('g', 'dy', 'lq', 'values', 'lk')}
    ${w.scores('s', 'queries', 'lq', 'keys', 'lk')}
    let column = vec4u(start + 4u * x) + vec4u(0u, 1u, 2u, 3u);
    ${w.setWeights(`select(vec4f(0f), exp2(s[i] * ${w.scale} - logs[i]) * (g[i] - means[i]), column < vec4u(lk))`)}
    ${w.weigh('o', 'keys', 'lk', true)}
  }
  ${w.store('o', 'dq', 'lq', 'n', `${1 / Math.sqrt(d)}f`)}
}`;
}

/** dk and dv: a tile of keys walks along the queries, or along one slice of them, whose results are `partial`. */
export function keyShader(d: number, storage: Storage, plan: Plan, partial: boolean): string {
  const w = new Writer(d, storage, plan, partial);
  return `${w.declarations(GRADIENT_INPUTS, ['sumLogs', 'deltas'], ['dk', 'dv'])}
${w.head(8)}
  ${w.declareSums('a')}
  ${w.declareSums('b')}
  for (var start = slice * depth; start < min(lq, (slice + 1u) * depth); start += ${w.columns}u) {
    ${w.declareScores('s')}
    ${w.declareScores('g')}
    ${w.scores('s', 'keys', 'lk', 'queries', 'lq')}
    ${w.scores('g', 'values', 'lk', 'dy', 'lq')}
    // Past the last query, exponentials are 0.
    var logs = vec4f(3e38f);
    var means = vec4f();
    ${w.times('c', 4, `let row = start + 4u * x + c; if (row < lq) { logs[c] = sumLogs[rowBase + row] * ${Math.LOG2E}f; means[c] = deltas[rowBase + row]; }`)}
    ${w.times('i', plan.each, `s[i] = exp2(s[i] * ${w.scale} - logs);`)}
    ${w.setWeights('s[i]')}
    ${w.weigh('b', 'dy', 'lq', true)}
    workgroupBarrier();
    ${w.setWeights('s[i] * (g[i] - means)')}
    ${w.weigh('a', 'queries', 'lq')}
  }
  ${w.store('a', 'dk', 'lk', 'group.z', `${1 / Math.sqrt(d)}f`)}
  ${w.store('b', 'dv', 'lk', 'group.z', '1f')}
}`;
}
