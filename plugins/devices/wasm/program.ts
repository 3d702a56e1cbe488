import { type Program, type ProgramNode, type Recorded, record } from '../compute/program.js';
import * as op from './opcodes.js';

// Generates a WebAssembly module from a program: one function over a table of arrays in the backend's memory, four numbers
// at a time, then one at a time for what is left.

/**
 * run(table, from, to, factors, room) over rows from..to - 1 of the table: the sum of the program's `sum`, or 0. Addresses are
 * in bytes; there is no use for the room, which every kernel that threads share has.
 */
export type RunProgram = (table: number, from: number, to: number, factors: number, room: number) => number;

const unsigned = (value: number): number[] => {
  const bytes: number[] = [];
  let rest = value >>> 0;
  do {
    bytes.push((rest & 127) | (rest > 127 ? 128 : 0));
    rest >>>= 7;
  } while (rest > 0);
  return bytes;
};
const signed = (value: number): number[] => {
  const bytes: number[] = [];
  for (let rest = value; ; rest >>= 7) {
    const byte = rest & 127;
    const done = (rest >> 7 === 0 && !(byte & 64)) || (rest >> 7 === -1 && byte & 64);
    bytes.push(done ? byte : byte | 128);
    if (done) return bytes;
  }
};
const float = (value: number): number[] => [...new Uint8Array(Float32Array.of(value).buffer)];

const get = (local: number) => [op.LOCAL_GET, ...unsigned(local)];
const set = (local: number) => [op.LOCAL_SET, ...unsigned(local)];
const tee = (local: number) => [op.LOCAL_TEE, ...unsigned(local)];
const i32 = (value: number) => [op.I32_CONST, ...signed(value)];
const f32 = (value: number) => [op.F32_CONST, ...float(value)];
const simd = (code: number) => [op.SIMD, ...unsigned(code)];
const loadI32 = (offset: number) => [op.I32_LOAD, op.ALIGN_4, ...unsigned(offset)];
/** while (condition) body */
const loop = (condition: number[], body: number[]) => [
  ...[op.BLOCK, op.EMPTY, op.LOOP, op.EMPTY],
  ...[...condition, op.I32_EQZ, op.BR_IF, 1],
  ...[...body, op.BR, 0],
  ...[op.END, op.END],
];

/** How one width of arithmetic is spelt: four numbers, or one. */
interface Width {
  readonly type: number;
  readonly bytes: number;
  readonly load: number[];
  readonly store: number[];
  readonly constant: (value: number) => number[];
  readonly op: Readonly<Record<'add' | 'sub' | 'mul' | 'div' | 'min' | 'max' | 'sqrt' | 'abs', number[]>>;
  readonly sign: (value: number[]) => number[];
}

const splat = (value: number) => [...f32(value), ...simd(op.F32X4_SPLAT)];

const FOUR: Width = {
  type: op.V128,
  bytes: 16,
  load: [...simd(op.V128_LOAD), op.ALIGN_4, 0],
  store: [...simd(op.V128_STORE), op.ALIGN_4, 0],
  constant: splat,
  op: {
    add: simd(op.F32X4_ADD),
    sub: simd(op.F32X4_SUB),
    mul: simd(op.F32X4_MUL),
    div: simd(op.F32X4_DIV),
    min: simd(op.F32X4_MIN),
    max: simd(op.F32X4_MAX),
    sqrt: simd(op.F32X4_SQRT),
    abs: simd(op.F32X4_ABS),
  },
  // (x and the sign bit, or 1) where x is not 0
  sign: (x) => [
    ...[...x, ...splat(-0), ...simd(op.V128_AND)],
    ...[...splat(1), ...simd(op.V128_OR)],
    ...[...x, ...splat(0), ...simd(op.F32X4_NE)],
    ...simd(op.V128_AND),
  ],
};

const ONE: Width = {
  type: op.F32,
  bytes: 4,
  load: [op.F32_LOAD, op.ALIGN_4, 0],
  store: [op.F32_STORE, op.ALIGN_4, 0],
  constant: f32,
  op: {
    add: [op.F32_ADD],
    sub: [op.F32_SUB],
    mul: [op.F32_MUL],
    div: [op.F32_DIV],
    min: [op.F32_MIN],
    max: [op.F32_MAX],
    sqrt: [op.F32_SQRT],
    abs: [op.F32_ABS],
  },
  // copysign(x != 0 ? 1 : 0, x)
  sign: (x) => [...x, ...f32(0), op.F32_NE, op.F32_CONVERT_I32_S, ...x, op.F32_COPYSIGN],
};

/** How a memory's size is told: at least, or at least and at most and shared by threads. */
const [UNLIMITED, LIMITED_SHARED] = [0, 3];
/** 4 GiB, as TensorFlow.js's module has it. */
const MOST_PAGES = 65536;

/** Elements added up in single precision before they join the sum. */
const CHUNK = 4096;

/** The module as bytes. */
export function compile(program: Program, shared: boolean): Uint8Array {
  const recorded = record(program);
  const { arrays } = program;
  const types: number[] = [];
  const local = (type: number) => 5 + types.push(type) - 1;
  const [table, from, groups, factors] = [0, 1, 2, 3];
  const row = 4 + 4 * arrays.length;
  const pointers = arrays.map(() => local(op.I32));
  const [end, stop, chunk] = [local(op.I32), local(op.I32), local(op.I32)];
  const sum = local(op.F64);

  // The table's first row, and how many are left.
  const body: number[] = [...get(table), ...get(from), ...i32(row), op.I32_MUL, op.I32_ADD, ...set(table)];
  body.push(...get(groups), ...get(from), op.I32_SUB, ...set(groups));
  const passes = [FOUR, ONE].map((width) => passOver(recorded, program, width, pointers, factors, local));
  for (const { before } of passes) body.push(...before);
  const hasSum = program.writes.length === 0;
  /** Adds the float on the stack to the sum. */
  const intoSum = [op.F64_PROMOTE_F32, ...get(sum), op.F64_ADD, ...set(sum)];

  const inner: number[] = [];
  for (const [k, pointer] of pointers.entries()) inner.push(...get(table), ...loadI32(4 + 4 * k), ...set(pointer));
  const first = pointers[0];
  // end = first + 4 n; stop = first + 4 (n & ~3)
  inner.push(...get(first), ...get(table), ...loadI32(0), ...i32(2), op.I32_SHL, op.I32_ADD, ...set(end));
  inner.push(...get(first), ...get(table), ...loadI32(0), ...i32(-4), op.I32_AND, ...i32(2), op.I32_SHL, op.I32_ADD, ...set(stop));
  const below = (limit: number) => [...get(first), ...get(limit), op.I32_LT_U];
  const [four, one] = passes;
  if (!hasSum) inner.push(...loop(below(stop), four.body));
  else {
    const { accumulator } = four;
    // The smaller of the next chunk's end and stop.
    const chunkEnd = [
      ...get(first),
      ...i32(4 * CHUNK),
      op.I32_ADD,
      ...tee(chunk),
      ...get(stop),
      ...get(chunk),
      ...get(stop),
      op.I32_LT_U,
      op.SELECT,
      ...set(chunk),
    ];
    const lanes = [0, 1, 2, 3].flatMap((lane) => [...get(accumulator), ...simd(op.F32X4_EXTRACT_LANE), lane, ...intoSum]);
    const zero = [...FOUR.constant(0), ...set(accumulator)];
    inner.push(...loop(below(stop), [...chunkEnd, ...zero, ...loop(below(chunk), four.body), ...lanes]));
  }
  const { accumulator } = one;
  if (hasSum) inner.push(...ONE.constant(0), ...set(accumulator));
  inner.push(...loop(below(end), one.body));
  if (hasSum) inner.push(...get(accumulator), ...intoSum);
  inner.push(...get(table), ...i32(row), op.I32_ADD, ...set(table), ...get(groups), ...i32(1), op.I32_SUB, ...set(groups));
  body.push(...loop(get(groups), inner), ...get(sum), op.END);

  const section = (id: number, content: number[]) => [id, ...unsigned(content.length), ...content];
  const name = (text: string) => [...unsigned(text.length), ...[...text].map((letter) => letter.charCodeAt(0))];
  const code = [...unsigned(types.length), ...types.flatMap((type) => [1, type]), ...body];
  return Uint8Array.from([
    ...op.HEADER,
    ...section(op.SECTION.type, [1, op.FUNCTION_TYPE, 5, ...new Array(5).fill(op.I32), 1, op.F64]),
    ...section(op.SECTION.import, [
      1,
      ...name('env'),
      ...name('memory'),
      op.KIND.memory,
      ...(shared ? [LIMITED_SHARED, 0, ...unsigned(MOST_PAGES)] : [UNLIMITED, 0]),
    ]),
    ...section(op.SECTION.function, [1, 0]),
    ...section(op.SECTION.export, [1, ...name('run'), op.KIND.function, 0]),
    ...section(op.SECTION.code, [1, ...unsigned(code.length), ...code]),
  ]);
}

/** The code of one width: what comes before the loops, and the loop's body. */
function passOver(
  { nodes, results }: Recorded,
  program: Program,
  width: Width,
  pointers: readonly number[],
  factors: number,
  local: (type: number) => number,
): { before: number[]; body: number[]; accumulator: number } {
  const locals = nodes.map(() => local(width.type));
  const accumulator = local(width.type);
  const before: number[] = [];
  const body: number[] = [];
  const value = (node: ProgramNode): { into: number[]; code: number[] } => {
    switch (node.op) {
      case 'array':
        return { into: body, code: [...get(pointers[program.arrays.indexOf(node.name)]), ...width.load] };
      case 'factor': {
        const address = [...get(factors), op.F32_LOAD, op.ALIGN_4, ...unsigned(4 * program.factors.indexOf(node.name))];
        return { into: before, code: width === FOUR ? [...address, ...simd(op.F32X4_SPLAT)] : address };
      }
      case 'constant':
        return { into: before, code: width.constant(node.value) };
      case 'sign':
        return { into: body, code: width.sign(get(locals[node.a])) };
      case 'sqrt':
      case 'abs':
        return { into: body, code: [...get(locals[node.a]), ...width.op[node.op]] };
      default:
        return { into: body, code: [...get(locals[node.a]), ...get(locals[node.b]), ...width.op[node.op]] };
    }
  };
  for (const [k, node] of nodes.entries()) {
    const { into, code } = value(node);
    into.push(...code, ...set(locals[k]));
  }
  for (const { name, node } of results) {
    if (name === 'sum') body.push(...get(accumulator), ...get(locals[node]), ...width.op.add, ...set(accumulator));
    else body.push(...get(pointers[program.arrays.indexOf(name)]), ...get(locals[node]), ...width.store);
  }
  for (const pointer of pointers) body.push(...get(pointer), ...i32(width.bytes), op.I32_ADD, ...set(pointer));
  return { before, body, accumulator };
}
