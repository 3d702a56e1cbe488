import type { TensorInfo } from '../../../core/tf.js';
import * as tf from '../../../core/tf.js';
import type { WasmDevice } from './device.js';

/** A number takes as long as so many multiplications: it is read and written. */
const WORK = 8;
/** Numbers of a line that are one block: see assembly/elementwise.ts. */
const PIECE = 4096;

/** Axes of a result in a row along which both operands have their own numbers, or one of them is repeated. */
interface Axes {
  size: number;
  readonly a: boolean;
  readonly b: boolean;
}

/** The result's axes, the last first: as few as say the same. */
function together(shape: readonly number[], a: readonly number[], b: readonly number[]): Axes[] {
  const all: Axes[] = [];
  for (let back = 1; back <= shape.length; back++) {
    const size = shape[shape.length - back];
    if (size === 1) continue;
    const [ofA, ofB] = [a, b].map((own) => (own[own.length - back] ?? 1) !== 1);
    const last = all.at(-1);
    if (last && last.a === ofA && last.b === ofB) last.size *= size;
    else all.push({ size, a: ofA, b: ofB });
  }
  return all;
}

/** a and b of float32, number by number, each repeated as TensorFlow.js does it; null where they alternate along more than three axes. */
export function elementwise(
  device: WasmDevice,
  name: 'add' | 'subtract' | 'multiply' | 'divide',
  a: TensorInfo,
  b: TensorInfo,
): TensorInfo | null {
  const shape = tf.backend_util.assertAndGetBroadcastShape(a.shape, b.shape);
  const axes = together(shape, a.shape, b.shape);
  if (axes.length > 3) return null;
  const out = device.newTensor(shape);
  const count = tf.util.sizeFromShape(shape);
  if (count === 0) return out;
  const sizes = [0, 1, 2].map((i) => axes[i]?.size ?? 1);
  const steps = (['a', 'b'] as const).flatMap((which) => {
    let step = 1;
    return [0, 1, 2]
      .map((i) => {
        if (!axes[i]?.[which]) return 0;
        const own = step;
        step *= sizes[i];
        return own;
      })
      .reverse();
  });
  const addresses = [a, b, out].map((t) => device.address(t));
  const blocks = sizes[2] * sizes[1] * Math.ceil(sizes[0] / PIECE);
  device.overBlocks(name, [...addresses, sizes[1], sizes[0], ...steps], blocks, WORK * count);
  return out;
}
