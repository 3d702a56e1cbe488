import { type Node, type Program, type Recorded, record } from '../compute/program.js';

// Generates a WebAssembly module from a program: one function over a table of arrays in the backend's memory, four numbers
// at a time, then one at a time for what is left.

/**
 * run(table, from, to, factors, room) over rows from..to - 1 of the table: the sum of the program's `sum`, or 0. Addresses are
 * in bytes; there is no use for the room, which every kernel that threads share has.
 */
export type Run = (table: number, from: number, to: number, factors: number, room: number) => number;

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

const [I32, F32, F64, V128] = [0x7f, 0x7d, 0x7c, 0x7b];
const get = (local: number) => [0x20, ...unsigned(local)];
const set = (local: number) => [0x21, ...unsigned(local)];
const tee = (local: number) => [0x22, ...unsigned(local)];
const i32 = (value: number) => [0x41, ...signed(value)];
const simd = (op: number) => [0xfd, ...unsigned(op)];
const [ADD, SUB, MULTIPLY, SHIFT_LEFT, AND, LESS] = [[0x6a], [0x6b], [0x6c], [0x74], [0x71], [0x49]];
const loadI32 = (offset: number) => [0x28, 2, ...unsigned(offset)];
/** while (condition) body */
const loop = (condition: number[], body: number[]) => [0x02, 0x40, 0x03, 0x40, ...condition, 0x45, 0x0d, 1, ...body, 0x0c, 0, 0x0b, 0x0b];

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

const FOUR: Width = {
  type: V128,
  bytes: 16,
  load: [...simd(0x00), 2, 0],
  store: [...simd(0x0b), 2, 0],
  constant: (value) => [0x43, ...float(value), ...simd(0x13)],
  op: {
    add: simd(0xe4),
    sub: simd(0xe5),
    mul: simd(0xe6),
    div: simd(0xe7),
    min: simd(0xe8),
    max: simd(0xe9),
    sqrt: simd(0xe3),
    abs: simd(0xe0),
  },
  // (x and the sign bit, or 1) where x is not 0
  sign: (x) => [
    ...x,
    ...[0x43, ...float(-0), ...simd(0x13)],
    ...simd(0x4e),
    ...[0x43, ...float(1), ...simd(0x13)],
    ...simd(0x50),
    ...x,
    ...[0x43, ...float(0), ...simd(0x13)],
    ...simd(0x42),
    ...simd(0x4e),
  ],
};

const ONE: Width = {
  type: F32,
  bytes: 4,
  load: [0x2a, 2, 0],
  store: [0x38, 2, 0],
  constant: (value) => [0x43, ...float(value)],
  op: { add: [0x92], sub: [0x93], mul: [0x94], div: [0x95], min: [0x96], max: [0x97], sqrt: [0x91], abs: [0x8b] },
  // copysign(x != 0 ? 1 : 0, x)
  sign: (x) => [...x, 0x43, ...float(0), 0x5c, 0xb2, ...x, 0x98],
};

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
  const pointers = arrays.map(() => local(I32));
  const [end, stop, chunk] = [local(I32), local(I32), local(I32)];
  const sum = local(F64);

  // The table's first row, and how many are left.
  const body: number[] = [...get(table), ...get(from), ...i32(row), ...MULTIPLY, ...ADD, ...set(table)];
  body.push(...get(groups), ...get(from), ...SUB, ...set(groups));
  const passes = [FOUR, ONE].map((width) => passOver(recorded, program, width, pointers, factors, local));
  for (const { before } of passes) body.push(...before);
  const hasSum = program.writes.length === 0;

  const inner: number[] = [];
  for (const [k, pointer] of pointers.entries()) inner.push(...get(table), ...loadI32(4 + 4 * k), ...set(pointer));
  const first = pointers[0];
  // end = first + 4 n; stop = first + 4 (n & ~3)
  inner.push(...get(first), ...get(table), ...loadI32(0), ...i32(2), ...SHIFT_LEFT, ...ADD, ...set(end));
  inner.push(...get(first), ...get(table), ...loadI32(0), ...i32(-4), ...AND, ...i32(2), ...SHIFT_LEFT, ...ADD, ...set(stop));
  const below = (limit: number) => [...get(first), ...get(limit), ...LESS];
  const [four, one] = passes;
  if (!hasSum) inner.push(...loop(below(stop), four.body));
  else {
    const { accumulator } = four;
    // The smaller of the next chunk's end and stop.
    const chunkEnd = [
      ...get(first),
      ...i32(4 * CHUNK),
      ...ADD,
      ...tee(chunk),
      ...get(stop),
      ...get(chunk),
      ...get(stop),
      ...LESS,
      0x1b,
      ...set(chunk),
    ];
    const lanes = [0, 1, 2, 3].flatMap((lane) => [...get(accumulator), ...simd(0x1f), lane, 0xbb, ...get(sum), 0xa0, ...set(sum)]);
    const zero = [...FOUR.constant(0), ...set(accumulator)];
    inner.push(...loop(below(stop), [...chunkEnd, ...zero, ...loop(below(chunk), four.body), ...lanes]));
  }
  const { accumulator } = one;
  if (hasSum) inner.push(...ONE.constant(0), ...set(accumulator));
  inner.push(...loop(below(end), one.body));
  if (hasSum) inner.push(...get(accumulator), 0xbb, ...get(sum), 0xa0, ...set(sum));
  inner.push(...get(table), ...i32(row), ...ADD, ...set(table), ...get(groups), ...i32(1), ...SUB, ...set(groups));
  body.push(...loop(get(groups), inner), ...get(sum), 0x0b);

  const section = (id: number, content: number[]) => [id, ...unsigned(content.length), ...content];
  const name = (text: string) => [...unsigned(text.length), ...[...text].map((letter) => letter.charCodeAt(0))];
  const code = [...unsigned(types.length), ...types.flatMap((type) => [1, type]), ...body];
  return Uint8Array.from([
    ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, [1, 0x60, 5, I32, I32, I32, I32, I32, 1, F64]),
    ...section(2, [1, ...name('env'), ...name('memory'), 2, ...(shared ? [3, 0, ...unsigned(65536)] : [0, 0])]),
    ...section(3, [1, 0]),
    ...section(7, [1, ...name('run'), 0, 0]),
    ...section(10, [1, ...unsigned(code.length), ...code]),
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
  const value = (node: Node): { into: number[]; code: number[] } => {
    switch (node.op) {
      case 'array':
        return { into: body, code: [...get(pointers[program.arrays.indexOf(node.name)]), ...width.load] };
      case 'factor': {
        const address = [...get(factors), 0x2a, 2, ...unsigned(4 * program.factors.indexOf(node.name))];
        return { into: before, code: width === FOUR ? [...address, ...simd(0x13)] : address };
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
  for (const pointer of pointers) body.push(...get(pointer), ...i32(width.bytes), ...ADD, ...set(pointer));
  return { before, body, accumulator };
}
