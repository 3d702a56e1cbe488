import { ROOM } from '#wasm-workers';
import { fail } from '../../../core/index.js';
import type { Tensor } from '../../../core/tf.js';
import type { AttentionOperation } from '../compute/contract.js';
import { tracked } from '../compute/tracked.js';
import type { WasmDevice } from './device.js';
import { PANEL, ROWS } from './matrix.js';

/** Rows whose scores a thread has room for, with so many numbers each: whole tiles of four. */
function rowsAtOnce(numbers: number): number {
  const rows = 4 * Math.floor((ROOM / 4 - ROWS) / numbers / 4);
  if (rows === 0)
    fail('OUT_OF_MEMORY', 'wasm', 'attention to so many tokens has no room on a thread', 'Lower the resolution, or use a GPU.');
  return Math.min(ROWS, rows);
}

/** Attention whose scores are stored nowhere: see assembly/attention.ts. */
export const attention = (device: WasmDevice): AttentionOperation => {
  /** x [n, l, heads d], packed for each picture and head: with l columns of d, or the other way round. */
  const pack = (use: string, x: Tensor, heads: number, columns: 'tokens' | 'channels', scale: number): number => {
    const [n, l, c] = x.shape;
    const d = c / heads;
    const [k, width, rowStep, columnStep] = columns === 'tokens' ? [d, l, 1, c] : [l, d, c, 1];
    const panels = Math.ceil(width / PANEL);
    const numbers = heads * panels * PANEL * k;
    const out = device.scratch.at(use, 4 * n * numbers);
    for (let image = 0; image < n; image++) {
      const at = device.address(x) + 4 * image * l * c;
      device.overBlocks('pack', [at, out + 4 * image * numbers, 1, k, width, 0, rowStep, columnStep, d, scale], heads * panels, numbers);
    }
    return out;
  };
  return {
    forward(q, k, v, heads) {
      const [n, lq, c] = q.shape;
      const [lk, d] = [k.shape[1] as number, c / heads];
      const [out, sumLogs] = [device.newTensor(q.shape), device.newTensor([n, heads, lq])];
      const keys = pack('keys', k, heads, 'tokens', 1 / Math.sqrt(d));
      const values = pack('values', v, heads, 'channels', 1);
      const addresses = [device.address(q), keys, values, device.address(out), device.address(sumLogs)];
      const most = rowsAtOnce(lk);
      device.overBlocks('attention', [...addresses, heads, lq, lk, d, most], n * heads * Math.ceil(lq / most), 2 * n * lq * lk * c);
      return { result: tracked(out), sumLogs: tracked(sumLogs) };
    },
    backward(dy, { q, k, v, result, sumLogs }, heads) {
      const [n, lq, c] = q.shape;
      const [lk, d] = [k.shape[1] as number, c / heads];
      const scale = 1 / Math.sqrt(d);
      const [dq, dk, dv] = [q, k, v].map(({ shape }) => device.newTensor(shape));
      const packed = [
        pack('keys', k, heads, 'tokens', scale),
        pack('values turned', v, heads, 'tokens', 1),
        pack('keys plain', k, heads, 'channels', scale),
      ];
      const most = rowsAtOnce(2 * lk + PANEL * Math.ceil(d / PANEL));
      const given = [q, dy, result, sumLogs].map((t) => device.address(t));
      const made = [dq, dk, dv].map((t) => device.address(t));
      device.overBlocks('attentionGrad', [...given, ...packed, ...made, heads, lq, lk, d, scale, most], n * heads, 5 * n * lq * lk * c);
      return { dq: tracked(dq), dk: tracked(dk), dv: tracked(dv) };
    },
  };
};
