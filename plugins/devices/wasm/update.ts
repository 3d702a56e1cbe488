import type { DeviceOperations, Factors } from '../compute/contract.js';
import { codeTable, SIGNED, UNSIGNED } from '../compute/dynamic-map.js';
import type { Arrays, Program } from '../compute/program.js';
import type { WasmDevice } from './device.js';
import { ROOM } from './workers.js';

/** Elements a thread takes at a time of a program's arrays, some 20 us of work; a row of a table has no more. */
const PIECE = 16384;
/** Elements that are worth waking a thread for. */
const ENOUGH = 8 * PIECE;
/** Blocks of 256 a thread takes at a time, some 50 us of work; a tensor of less than a few is not worth waking anyone for. */
const CHUNK = 64;

type Call = (...args: number[]) => void;

/**
 * The arguments of a program's function (see program.ts): a table in the heap with a row for each group of arrays, or, where `most` is given,
 * for each piece of so many elements; and the factors' values.
 */
export function tableOf(device: WasmDevice, program: Program, list: readonly Arrays[], factors: Factors, most = Number.POSITIVE_INFINITY) {
  const { arrays } = program;
  const rows = list.reduce((all, group) => all + Math.max(1, Math.ceil(group[arrays[0]].size / most)), 0);
  const table = device.scratch.at('table', 4 * (1 + arrays.length) * rows);
  const values = device.scratch.at('factors', 4 * Math.max(1, program.factors.length));
  for (const [k, name] of program.factors.entries()) device.floats()[values / 4 + k] = device.numberIn(factors[name]);
  const words = new Int32Array(device.backend.wasm.HEAPU8.buffer);
  let at = table / 4;
  for (const group of list) {
    const { size } = group[arrays[0]];
    const starts = arrays.map((name) => device.address(group[name]));
    for (let done = 0; done === 0 || done < size; done += most) {
      words[at++] = Math.min(size - done, most);
      for (const start of starts) words[at++] = start + 4 * done;
    }
  }
  return { rows, args: [table, 0, rows, values, 0] as const };
}

/** Runs a program over groups of arrays, in place; large ones are shared among the threads. */
export const updater =
  (device: WasmDevice): DeviceOperations['update'] =>
  (program, list, factors, finite) => {
    if (device.numberIn(finite) === 0) return;
    const compiled = device.programs.get(program);
    const elements = list.reduce((all, group) => all + group[program.arrays[0]].size, 0);
    if (device.threads > 1 && device.isShared && elements >= ENOUGH) {
      const { rows, args } = tableOf(device, program, list, factors, PIECE);
      const { workers } = device;
      compiled.shared ??= workers.add(compiled.bytes, 'run', compiled.run as Call);
      const chunk = Math.max(1, Math.floor((PIECE * rows) / elements));
      workers.run({ kernel: compiled.shared, args, places: { from: 1, to: 2, room: 4 }, blocks: rows, chunk }, 0);
    } else compiled.run(...tableOf(device, program, list, factors).args);
    for (const group of list) for (const name of program.writes) device.forgetPacked(group[name]);
  };

/** The code maps and their tables of codes, made and written once: they take milliseconds, as long as a step of millions of elements. */
function tablesOf(device: WasmDevice): number {
  const written = device.scratch.find('tables');
  if (written !== undefined) return written;
  const [codesM, codesV] = [codeTable(SIGNED), codeTable(UNSIGNED)];
  const at = device.scratch.at('tables', 4 * (512 + codesM.length + codesV.length));
  device.floats().set(SIGNED, at / 4);
  device.floats().set(UNSIGNED, at / 4 + 256);
  const words = new Uint32Array(device.backend.wasm.HEAPU8.buffer);
  words.set(codesM, at / 4 + 512);
  words.set(codesV, at / 4 + 512 + codesM.length);
  return at;
}

/** 8-bit AdamW in one call a tensor, in place. */
export const adamw8bit =
  (device: WasmDevice): DeviceOperations['adamw8bit'] =>
  (list, { rate, decay, ...factors }, finite, { beta1, beta2, epsilon, bound }) => {
    if (device.numberIn(finite) === 0) return;
    const kernel = device.module.adamw8bit as Call;
    const tables = tablesOf(device);
    const room = device.scratch.at('room', ROOM);
    const [scale, correction1, correction2] = [factors.scale, factors.correction1, factors.correction2].map((x) => device.numberIn(x));
    const constants = [correction1, correction2, beta1, 1 - beta1, beta2, 1 - beta2, epsilon, bound];
    for (const { p, g, m, v, absmax } of list) {
      const [toP, toG, toM, toV, toAbsmax] = [p, g, m, v, absmax].map((t) => device.address(t));
      const blocks = absmax.size / 2;
      const args = [toP, toG, toM, toV, toAbsmax, p.size, 0, blocks, tables, room, rate, decay, scale, ...constants];
      if (device.threads > 1 && device.isShared && blocks >= 4 * CHUNK) {
        const { workers } = device;
        workers.run({ kernel: workers.adamw8bit, args, places: { from: 6, to: 7, room: 9 }, blocks, chunk: CHUNK }, room);
      } else kernel(...args);
      device.forgetPacked(p);
    }
  };
