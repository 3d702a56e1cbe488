import type { TensorInfo } from '../../../core/tf.js';
import * as tf from '../../../core/tf.js';
import type { WebGPUDevice } from './device.js';
import { type Dispatch, dispatch } from './dispatch.js';
import { FLOAT_DEPTH, floatTiles, writesFours } from './float-tiles.js';
import { isHalf, toFull } from './half.js';
import { type Operand, widthOf } from './operands.js';
import { sizesBuffer } from './sizes.js';
import { addSlices } from './slices.js';
import { fitsHalf, HALVES } from './storage.js';
import { CORE_DEPTH, tensorCoreTiles } from './tensor-core-tiles.js';
import { FLAGS, type TiledProduct } from './tiles.js';

/** An operand, and the tensor that it is read from. */
export interface Factor extends Omit<Operand, 'array' | 'half'> {
  readonly tensor: TensorInfo;
}

/** One tiled matrix product for everything that is one: products, batched ones, convolutions and both of their gradients, and what is added to them. */
export interface Product {
  /** What the operands are, with every constant in their expressions. */
  readonly name: string;
  readonly m: number;
  readonly n: number;
  readonly batch?: number;
  /** Products of [m, k] and [k, n] that are added up; a second one stands beside it for LoRA. */
  readonly terms: readonly { readonly a: Factor; readonly b: Factor; readonly k: number }[];
  /** What the sum of terms is multiplied with. */
  readonly scale?: number | undefined;
  /** Added to each row, and to all of it. */
  readonly bias?: TensorInfo | undefined;
  readonly rest?: TensorInfo | undefined;
  readonly functions?: string;
  /** Sizes beside m, n, k (k1 of a second term), batch and slices that the operands read, so that there is one shader for all of them. */
  readonly sizes?: Readonly<Record<string, number>>;
  /** Whether the result is stored in float32 even where an operand is not. */
  readonly full?: boolean;
}

/** Steps along the inner axis, by what computes. */
const DEPTHS = { cores: CORE_DEPTH, floats: FLOAT_DEPTH } as const;

/** The tiles that there are, what as much arithmetic of one workgroup costs in each, and how many are under way at a time on each multiprocessor. */
const TILES = {
  cores: [
    [128, 128, 0.41, 2],
    [128, 64, 1, 3],
    [32, 64, 1.6, 3],
  ],
  floats: [
    [128, 64, 1, 3],
    [64, 64, 1.2, 3],
    [32, 32, 2, 3],
    [64, 16, 2.4, 3],
  ],
} as const;

/** Multiprocessors of a large device. Fewer workgroups leave it idle. */
const PROCESSORS = 132;

/** Multiplications of one workgroup that take as long as one dispatch more, of the host's time above all, and as a number that a pass over slices loads or writes. */
const PASS = { cores: [3_200_000, 0.27], floats: [720_000, 0.06] } as const;

/** Sums that one workgroup must at least have left to add up, for it to be worth a slice. */
const LEAST_SHARE = 128;

interface Tiling {
  readonly rows: number;
  readonly columns: number;
  readonly slices: number;
}

/**
 * How often a large device is filled by so many workgroups, `atOnce` of them on a multiprocessor: what is left over for the last time takes no whole turn, since a
 * multiprocessor that has fewer of them under way is done sooner.
 */
function turnsOf(groups: number, atOnce: number): number {
  const turns = groups / (PROCESSORS * atOnce);
  if (turns <= 1) return 1;
  const whole = Math.floor(turns);
  return whole + (turns > whole ? Math.max(0.6, turns - whole) : 0);
}

/** The tile, and the slices of a long inner axis, that should take least time; `narrow` says that all operands are stored in half precision. */
function tiling(p: Product, by: 'cores' | 'floats', half: boolean, narrow: boolean): Tiling {
  const { k } = p.terms[0];
  const size = p.m * p.n * (p.batch ?? 1);
  let best: Tiling | null = null;
  let least = Number.POSITIVE_INFINITY;
  for (const [rows, columns, cost, atOnce] of TILES[by]) {
    // Its sums leave no registers for vectors of single precision that are on their way.
    if (columns === 128 && !narrow) continue;
    // Halves are written in fours.
    if (by === 'floats' && half && !writesFours(columns)) continue;
    const groups = Math.ceil(p.m / rows) * Math.ceil(p.n / columns) * (p.batch ?? 1);
    const most = PROCESSORS * atOnce;
    for (let slices = 1; slices === 1 || (k / slices >= LEAST_SHARE && groups * slices <= 2 * most); slices++) {
      const pass = slices > 1 ? PASS[by][0] + size * (2 * slices + 1) * PASS[by][1] : 0;
      const time = turnsOf(groups * slices, atOnce) * rows * columns * cost * (k / slices + 64) + pass;
      if (time < least) [least, best] = [time, { rows, columns, slices }];
    }
  }
  return best as Tiling;
}

/** Computes the product into a new tensor of `shape`. A long inner axis is cut in slices that are added afterwards. */
export function product(device: WebGPUDevice, given: Product, shape: number[]): TensorInfo {
  const copies: TensorInfo[] = [];
  // Vectors of halves stay within a row everywhere but where a tensor was given another last axis.
  const readable = (factor: Factor): Factor => {
    if (!isHalf(device, factor.tensor) || factor.run % HALVES === 0) return factor;
    const tensor = toFull(device, factor.tensor);
    copies.push(tensor);
    return { ...factor, tensor };
  };
  const bias = given.bias && isHalf(device, given.bias) ? toFull(device, given.bias) : given.bias;
  if (bias && bias !== given.bias) copies.push(bias);
  const p = { ...given, bias, terms: given.terms.map(({ a, b, k }) => ({ a: readable(a), b: readable(b), k })) };
  const factors = p.terms.flatMap(({ a, b }) => [a, b]);
  const anyHalf = factors.some(({ tensor }) => isHalf(device, tensor));
  const half = anyHalf && !p.full && fitsHalf(shape);
  const out = device.newTensor(shape, half);
  if (tf.util.sizeFromShape(shape) > 0) {
    const cores = device.tensorCores && anyHalf;
    const narrow = factors.every(({ tensor }) => isHalf(device, tensor));
    const { rows, columns, slices } = tiling(p, cores ? 'cores' : 'floats', half, narrow);
    const batch = p.batch ?? 1;
    const form = { cores, rows, columns, slices, wide: p.n % 4 === 0 && (cores || writesFours(columns)) };
    // A shader reads the rest as it may write the result.
    if (slices === 1 && (!p.rest || isHalf(device, p.rest) === (anyHalf && form.wide))) dispatch(device, shader(device, p, form, out));
    else {
      const into = device.newTensor([batch, slices, p.m, p.n]);
      dispatch(device, shader(device, { ...p, bias: undefined, rest: undefined }, form, into));
      addSlices(device, into, out, { batch, slices, bias: p.bias, rest: p.rest });
    }
  }
  for (const copy of copies) device.dispose(copy);
  return out;
}

interface Form {
  readonly cores: boolean;
  readonly rows: number;
  readonly columns: number;
  readonly slices: number;
  readonly wide: boolean;
}

/** A number as the bits that stand for it. */
const bitsOf = (x: number): number => new Uint32Array(Float32Array.of(x).buffer)[0];

function shader(device: WebGPUDevice, p: Product, { cores, rows, columns, slices, wide }: Form, out: TensorInfo): Dispatch {
  const batch = p.batch ?? 1;
  const depth = DEPTHS[cores ? 'cores' : 'floats'];
  const operand = (factor: Factor, name: string): Operand => ({ ...factor, array: name, half: isHalf(device, factor.tensor) });
  const terms = p.terms.map(({ a, b, k }, i) => ({
    a: operand(a, `a${i || ''}`),
    b: operand(b, `b${i || ''}`),
    k: `k${i || ''}`,
    whole: k % depth === 0,
  }));
  const sizes = { m: p.m, n: p.n, slices, ...Object.fromEntries(terms.map(({ k }, i) => [k, p.terms[i].k])), ...p.sizes };
  const tiled: TiledProduct = { terms, sizes: Object.keys(sizes), functions: p.functions ?? '', wide, rows, columns };
  const flags = (p.bias ? FLAGS.bias : 0) + (p.rest ? FLAGS.rest : 0) + (isHalf(device, out) ? FLAGS.half : 0);
  const forms = terms.map(({ a, b, whole }) => `${a.along} ${widthOf(a)},${b.along} ${widthOf(b)},${whole}`);
  const tensors = p.terms.flatMap(({ a, b }) => [a.tensor, b.tensor]);
  // As long as a row of the result at least.
  const [, none] = tensors;
  return {
    name: `${p.name} ${cores ? 'cores' : 'floats'} ${rows}x${columns} ${forms.join()} ${wide}`,
    named: true,
    halves: true,
    code: () => (cores ? tensorCoreTiles(tiled) : floatTiles(tiled)),
    tensors: [...tensors, p.bias ?? none, p.rest ?? none, out],
    shared: [sizesBuffer(device, [...Object.values(sizes), bitsOf(p.scale ?? 1), flags])],
    groups: [Math.ceil(p.n / columns), Math.ceil(p.m / rows), batch * slices],
  };
}

/** What is read of [.., m, k] as rows, or of [.., k, n] as columns: transposed, [.., k, m] or [.., n, k]. */
const matrix = (
  tensor: TensorInfo,
  transposed: boolean,
  side: 'a' | 'b',
  batches: number,
  { extent, k, sizes: [outerSize, innerSize] }: { extent: number; k: number; sizes: readonly [string, string] },
): Factor => {
  const along = (side === 'a') === transposed ? 'outer' : 'inner';
  const first = batches > 1 ? `batch * ${outerSize} * ${innerSize} + ` : '';
  return {
    tensor,
    along,
    run: along === 'outer' ? extent : k,
    index: ({ outer, inner }) =>
      `${first}${along === 'outer' ? `${inner} * ${outerSize} + ${outer}` : `${outer} * ${innerSize} + ${inner}`}`,
  };
};

/** What is added to a product: a number a column, a tensor like the result, and another product of [m, r] and [r, n]. */
export interface Added {
  readonly scale?: number | undefined;
  readonly bias?: TensorInfo | undefined;
  readonly rest?: TensorInfo | undefined;
  readonly more?: { readonly a: TensorInfo; readonly b: TensorInfo; readonly transposeB: boolean } | undefined;
  readonly full?: boolean;
}

/** a [.., m, k] times b [.., k, n], either transposed; a batch of 1 is shared. */
export function matMul(
  device: WebGPUDevice,
  a: TensorInfo,
  b: TensorInfo,
  transposeA: boolean,
  transposeB: boolean,
  { scale, bias, rest, more, full = false }: Added = {},
): TensorInfo {
  const [ra, rb] = [a.shape.length, b.shape.length];
  const [m, k] = transposeA ? [a.shape[ra - 1], a.shape[ra - 2]] : [a.shape[ra - 2], a.shape[ra - 1]];
  const n = transposeB ? b.shape[rb - 2] : b.shape[rb - 1];
  const [batchA, batchB] = [tf.util.sizeFromShape(a.shape.slice(0, -2)), tf.util.sizeFromShape(b.shape.slice(0, -2))];
  const batch = Math.max(batchA, batchB);
  const outer = (ra >= rb ? a.shape : b.shape).slice(0, -2);
  const k1 = more?.a.shape[1] ?? 0;
  return product(
    device,
    {
      name: `product ${batchA > 1} ${batchB > 1}`,
      m,
      n,
      batch,
      terms: [
        {
          a: matrix(a, transposeA, 'a', batchA, { extent: m, k, sizes: ['m', 'k'] }),
          b: matrix(b, transposeB, 'b', batchB, { extent: n, k, sizes: ['n', 'k'] }),
          k,
        },
        ...(more
          ? [
              {
                a: matrix(more.a, false, 'a', 1, { extent: m, k: k1, sizes: ['m', 'k1'] }),
                b: matrix(more.b, more.transposeB, 'b', 1, { extent: n, k: k1, sizes: ['n', 'k1'] }),
                k: k1,
              },
            ]
          : []),
      ],
      scale,
      bias,
      rest,
      full,
    },
    [...outer, m, n],
  );
}
