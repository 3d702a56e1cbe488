import type { Scalar } from '@tensorflow/tfjs';
import * as tf from '@tensorflow/tfjs';
import { FUSED, registerLists } from '../compute/contract.js';
import { codeTable, SIGNED, UNSIGNED } from '../compute/dynamic-map.js';
import type { Program } from '../compute/program.js';
import { address, floats, forgetPacked, startOf, type WasmBackendParts } from './backend.js';
import { isShared, kernelsOf, memoryOf, moduleBytes } from './module.js';
import { compile, type Run } from './program.js';
import { Workers } from './workers.js';

const current = (): WasmBackendParts => tf.backend() as unknown as WasmBackendParts;

/** A scalar's value: in this backend it lies in memory that the host shares. */
const numberIn = (backend: WasmBackendParts, x: number | Scalar): number =>
  typeof x === 'number' ? x : floats(backend)[startOf(backend, x)];

interface Scratch {
  readonly bytes: number;
  readonly at: number;
}

/** Memory for tables of addresses, kept by its use and grown where that is not enough. */
const scratches = new WeakMap<WasmBackendParts, Map<string, Scratch>>();

function scratch(backend: WasmBackendParts, use: string, bytes: number): number {
  let known = scratches.get(backend);
  if (!known) scratches.set(backend, (known = new Map()));
  const found = known.get(use);
  if (found && found.bytes >= bytes) return found.at;
  if (found) backend.wasm._free(found.at);
  const at = backend.wasm._malloc(bytes);
  if (at === 0) throw new Error(`the wasm backend has no ${bytes} bytes left`);
  known.set(use, { bytes, at });
  return at;
}

interface Compiled {
  readonly bytes: Uint8Array;
  readonly run: Run;
  /** Its number among the threads' kernels, where it has one. */
  shared?: number;
}

const runs = new WeakMap<WasmBackendParts, Map<string, Compiled>>();

/** A program's function, made once. */
function runOf(backend: WasmBackendParts, program: Program): Compiled {
  let known = runs.get(backend);
  if (!known) runs.set(backend, (known = new Map()));
  let found = known.get(program.name);
  if (!found) {
    const bytes = compile(program, isShared(backend));
    const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes as BufferSource), { env: { memory: memoryOf(backend) } });
    found = { bytes, run: instance.exports.run as Run };
    known.set(program.name, found);
  }
  return found;
}

/** The code maps and their tables of codes, written once. */
function tablesOf(backend: WasmBackendParts): number {
  const known = scratches.get(backend)?.get('tables');
  if (known) return known.at;
  const [codesM, codesV] = [codeTable(SIGNED), codeTable(UNSIGNED)];
  const at = scratch(backend, 'tables', 4 * (512 + codesM.length + codesV.length));
  floats(backend).set(SIGNED, at / 4);
  floats(backend).set(UNSIGNED, at / 4 + 256);
  const words = new Uint32Array(backend.wasm.HEAPU8.buffer);
  words.set(codesM, at / 4 + 512);
  words.set(codesV, at / 4 + 512 + codesM.length);
  return at;
}

/** What a thread computes in: see adamw8bit in assembly/index.ts. */
const ROOM = 8192;
/** Blocks of 256 a thread takes at a time, some 50 us of work; a tensor of less than a few is not worth waking anyone for. */
const CHUNK = 64;

/** Elements a thread takes at a time of a program's arrays, some 20 us of work; a row of a table has no more. */
const PIECE = 16384;
/** Elements that are worth waking a thread for. */
const ENOUGH = 8 * PIECE;

const pools = new WeakMap<WasmBackendParts, { readonly workers: Workers; readonly adamw8bit: number }>();

/** Threads beside the main one, started when there is first enough for them to do. */
function poolOf(backend: WasmBackendParts, threads: number) {
  let found = pools.get(backend);
  if (!found) {
    const workers = new Workers(threads, memoryOf(backend), (thread) => scratch(backend, `room ${thread}`, ROOM));
    found = {
      workers,
      adamw8bit: workers.add(moduleBytes(true), 'adamw8bit', kernelsOf(backend).adamw8bit as (...args: number[]) => void),
    };
    pools.set(backend, found);
  }
  return found;
}

/** Lists of tensors in one call of our own modules, in the backend's memory. */
export const registerWasmLists = (threads: number): void =>
  registerLists('wasm', {
    [FUSED.program](program, list, factors, finite) {
      const backend = current();
      const compiled = runOf(backend, program);
      const hasSum = program.writes.length === 0;
      if (!hasSum && numberIn(backend, finite) === 0) return null;
      const { arrays } = program;
      const elements = list.reduce((all, group) => all + group[arrays[0]].size, 0);
      // A sum stays on one thread: its last digits depend on the order.
      const isSplit = !hasSum && threads > 1 && isShared(backend) && elements >= ENOUGH;
      const most = isSplit ? PIECE : Number.POSITIVE_INFINITY;
      const rows = isSplit ? list.reduce((all, group) => all + Math.ceil(group[arrays[0]].size / most), 0) : list.length;
      const table = scratch(backend, 'table', 4 * (1 + arrays.length) * rows);
      const values = scratch(backend, 'factors', 4 * Math.max(1, program.factors.length));
      const numbers = new Int32Array(backend.wasm.HEAPU8.buffer);
      for (const [k, name] of program.factors.entries()) floats(backend)[values / 4 + k] = numberIn(backend, factors[name]);
      let at = table / 4;
      for (const group of list) {
        const { size } = group[arrays[0]];
        const starts = arrays.map((name) => address(backend, group[name]));
        for (let done = 0; done < size; done += most) {
          numbers[at++] = Math.min(size - done, most);
          for (const start of starts) numbers[at++] = start + 4 * done;
          if (!isSplit) break;
        }
      }
      const args = [table, 0, rows, values, 0] as const;
      let sum = 0;
      if (isSplit) {
        const { workers } = poolOf(backend, threads);
        compiled.shared ??= workers.add(compiled.bytes, 'run', compiled.run as (...args: number[]) => void);
        const chunk = Math.max(1, Math.floor((PIECE * rows) / elements));
        workers.run({ kernel: compiled.shared, args, places: { from: 1, to: 2, room: 4 }, blocks: rows, chunk }, 0);
      } else sum = compiled.run(...args);
      for (const group of list) for (const name of program.writes) forgetPacked(backend, group[name]);
      return hasSum ? tf.scalar(sum) : null;
    },

    [FUSED.adamw8bit](list, factors, finite, { beta1, beta2, epsilon, bound }) {
      const backend = current();
      if (numberIn(backend, finite) === 0) return;
      const { adamw8bit } = kernelsOf(backend);
      const tables = tablesOf(backend);
      const room = scratch(backend, 'room', ROOM);
      const { learningRate, weightDecay } = factors;
      const [scale, correction1, correction2] = [factors.scale, factors.correction1, factors.correction2].map((x) => numberIn(backend, x));
      const constants = [correction1, correction2, beta1, 1 - beta1, beta2, 1 - beta2, epsilon, bound];
      for (const { p, g, m, v, absmax } of list) {
        const size = tf.util.sizeFromShape(p.shape);
        const [toP, toG, toM, toV, toAbsmax] = [p, g, m, v, absmax].map((t) => address(backend, t));
        const blocks = tf.util.sizeFromShape(absmax.shape) / 2;
        const args = [toP, toG, toM, toV, toAbsmax, size, 0, blocks, tables, room, learningRate, weightDecay, scale, ...constants];
        if (threads > 1 && isShared(backend) && blocks >= 4 * CHUNK) {
          const { workers, adamw8bit: kernel } = poolOf(backend, threads);
          workers.run({ kernel, args, places: { from: 6, to: 7, room: 9 }, blocks, chunk: CHUNK }, room);
        } else (adamw8bit as (...args: number[]) => void)(...args);
        forgetPacked(backend, p);
      }
    },
  });
