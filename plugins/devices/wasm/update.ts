import type { DeviceOperations, Factors } from '../compute/contract.js';
import type { Arrays, Program } from '../compute/program.js';
import type { WasmDevice } from './device.js';

/** Elements a thread takes at a time of a program's arrays, some 20 us of work; a row of a table has no more. */
const PIECE = 16384;
/** Elements that are worth waking a thread for. */
const ENOUGH = 8 * PIECE;

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
      compiled.shared ??= workers.add(compiled.module, 'run', compiled.run);
      const chunk = Math.max(1, Math.floor((PIECE * rows) / elements));
      workers.run({ kernel: compiled.shared, args, places: { from: 1, to: 2, room: 4 }, blocks: rows, chunk }, 0);
    } else compiled.run(...tableOf(device, program, list, factors).args);
    for (const group of list) for (const name of program.writes) device.forgetPacked(group[name]);
  };
