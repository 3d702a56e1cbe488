import { ROOM } from '#wasm-workers';
import type { DeviceOperations } from '../compute/contract.js';
import { codeTable, SIGNED, UNSIGNED } from '../compute/dynamic-map.js';
import type { WasmDevice } from './device.js';

/** Blocks of 256 a thread takes at a time, some 50 us of work; a tensor of less than a few is not worth waking anyone for. */
const CHUNK = 64;

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
    const kernel = device.module.adamw8bit as (...args: number[]) => void;
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
        workers.run({ kernel: workers.numberOf('adamw8bit'), args, places: { from: 6, to: 7, room: 9 }, blocks, chunk: CHUNK }, room);
      } else kernel(...args);
      device.forgetPacked(p);
    }
  };
