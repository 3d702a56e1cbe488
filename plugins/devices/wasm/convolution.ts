import { ROOM } from '#wasm-workers';
import type { TensorInfo } from '../../../core/tf.js';
import type { ConvInfo } from '../compute/kernels.js';
import type { WasmDevice } from './device.js';
import { type Added, PANEL, type Packing, pack, ROWS } from './matrix.js';
import { upsample } from './pixels.js';

/** Whether our convolutions can do it: addresses of the pixels under all places of a filter have to fit into a thread's room. */
export const convolves = (c: ConvInfo): boolean =>
  c.dataFormat === 'channelsLast' &&
  c.dilationHeight === 1 &&
  c.dilationWidth === 1 &&
  c.outChannels * c.inChannels > 0 &&
  4 * ROWS * c.filterHeight * c.filterWidth <= ROOM;

/** One side of a convolution: its input's and its result's sizes and channels, and where the pixel under a filter's place lies. */
interface Walk {
  readonly from: { readonly height: number; readonly width: number; readonly channels: number };
  readonly to: { readonly height: number; readonly width: number; readonly channels: number };
  readonly stride: readonly [number, number];
  readonly spread: readonly [number, number];
  readonly before: readonly [top: number, left: number];
}

/** Channels from which on it is faster to transform tiles and filters than to multiply them as they are. */
const WORTH_TRANSFORMING = 16;
/** A tile's sides, of the result and of what is transformed, and the fewest tiles at a time that are. */
const [SIDE, TRANSFORMED, FEWEST] = [4, 36, 4];

/** What is added, and whether x is half as high and wide as the convolution says, each of its pixels counting for two by two. */
export interface Convolved extends Added {
  readonly doubled?: boolean;
}

/** Tiles that a thread transforms at a time; 0 where a convolution is multiplied as it is. */
function tilesAtOnce(device: WasmDevice, c: ConvInfo, { from, to, stride, spread }: Walk): { tiles: number; atOnce: number } {
  const tiles = c.batchSize * Math.ceil(to.height / SIDE) * Math.ceil(to.width / SIDE);
  const isPlain = c.filterHeight === 3 && c.filterWidth === 3 && [...stride, ...spread].every((step) => step === 1);
  const fits = [from.channels, to.channels].every((count) => count % 4 === 0 && count >= WORTH_TRANSFORMING);
  const saves = TRANSFORMED * tiles < 9 * c.batchSize * to.height * to.width;
  const most = Math.min(ROWS, Math.floor((ROOM - 4 * ROWS) / (4 * TRANSFORMED * (from.channels + to.channels))));
  if (!isPlain || !fits || !saves || most < FEWEST) return { tiles, atOnce: 0 };
  // As many blocks for each thread.
  const blocks = device.threads * Math.ceil(tiles / device.threads / most);
  return { tiles, atOnce: Math.min(most, 4 * Math.ceil(tiles / blocks / 4)) };
}

/** The address of a filter's transformed numbers. */
function transformed(device: WasmDevice, packing: Packing, doubled: boolean): number {
  const { of, first = 0, k, n } = packing;
  const panels = Math.ceil(n / PANEL);
  const numbers = TRANSFORMED * PANEL * panels * k;
  const into = (out: number): number => {
    device.overBlocks('winogradFilter', [pack(device, packing, false), out, k, panels, Number(doubled)], panels, numbers);
    return out;
  };
  const name = `transformed ${first} ${k} ${n} ${doubled}`;
  return device.kept.of(of, name, 4 * numbers, into) ?? into(device.scratch.at('filters', 4 * numbers));
}

function walked(
  device: WasmDevice,
  x: TensorInfo,
  packing: Packing,
  c: ConvInfo,
  walk: Walk,
  { bias, rest, doubled = false }: Convolved,
): TensorInfo {
  const { from, to, stride, spread, before } = walk;
  const { tiles, atOnce } = tilesAtOnce(device, c, walk);
  const out = device.newTensor([c.batchSize, to.height, to.width, to.channels]);
  const zeros = device.scratch.zeros(4 * from.channels);
  const added = [bias ? device.address(bias) : 0, rest ? device.address(rest) : 0];
  const images = [c.batchSize, from.height, from.width, from.channels, to.height, to.width, to.channels];
  if (atOnce > 0) {
    const filters = transformed(device, packing, doubled);
    const args = [device.address(x), filters, device.address(out), ...added, zeros, ...images, ...before, Number(doubled), atOnce];
    const multiplications = (doubled ? TRANSFORMED - 11 : TRANSFORMED) * tiles * from.channels * to.channels;
    device.overBlocks('winograd', args, Math.ceil(tiles / atOnce), multiplications);
    return out;
  }
  const addresses = [device.address(x), pack(device, packing), device.address(out), ...added, zeros];
  const pixels = c.batchSize * to.height * to.width;
  const multiplications = pixels * c.filterHeight * c.filterWidth * from.channels * to.channels;
  device.overBlocks(
    'convolution',
    [...addresses, ...images, c.filterHeight, c.filterWidth, ...stride, ...spread, ...before],
    Math.ceil(pixels / ROWS),
    multiplications,
  );
  return out;
}

const outer = (c: ConvInfo) => ({ height: c.outHeight, width: c.outWidth, channels: c.outChannels });
const inner = (c: ConvInfo) => ({ height: c.inHeight, width: c.inWidth, channels: c.inChannels });

/** x [n, h, w, in] with a filter [kh, kw, in, out]. */
export function conv2d(device: WasmDevice, x: TensorInfo, filter: TensorInfo, c: ConvInfo, added: Convolved = {}): TensorInfo {
  const [ci, co] = [c.inChannels, c.outChannels];
  const taps = c.filterHeight * c.filterWidth;
  const packing: Packing = { of: filter, taps, k: ci, n: co, tapStep: ci * co, rowStep: co, columnStep: 1 };
  const stride = [c.strideHeight, c.strideWidth] as const;
  const before = [c.padInfo.top, c.padInfo.left] as const;
  const walk: Walk = { from: inner(c), to: outer(c), stride, spread: [1, 1], before };
  if (!added.doubled || (tilesAtOnce(device, c, walk).atOnce > 0 && before.every((pixels) => pixels === 1)))
    return walked(device, x, packing, c, walk, added);
  const [whole] = upsample(device, [x]);
  const made = walked(device, whole, packing, c, walk, { ...added, doubled: false });
  device.free(whole);
  return made;
}

/** dx as a convolution of dy, spread out by the stride, with the filter turned round and its channels exchanged. */
export function conv2dInputGradient(device: WasmDevice, dy: TensorInfo, filter: TensorInfo, c: ConvInfo): TensorInfo {
  const [ci, co] = [c.inChannels, c.outChannels];
  const taps = c.filterHeight * c.filterWidth;
  const first = (taps - 1) * ci * co;
  const packing: Packing = { of: filter, first, taps, k: co, n: ci, tapStep: -ci * co, rowStep: 1, columnStep: co };
  const before = [c.filterHeight - 1 - c.padInfo.top, c.filterWidth - 1 - c.padInfo.left] as const;
  const spread = [c.strideHeight, c.strideWidth] as const;
  return walked(device, dy, packing, c, { from: outer(c), to: inner(c), stride: [1, 1], spread, before }, {});
}

/** dw [kh, kw, in, out] from x and dy. */
export function conv2dFilterGradient(device: WasmDevice, x: TensorInfo, dy: TensorInfo, c: ConvInfo): TensorInfo {
  const [ci, co] = [c.inChannels, c.outChannels];
  const out = device.newTensor([c.filterHeight, c.filterWidth, ci, co]);
  const addresses = [x, dy, out].map((t) => device.address(t));
  const sizes = [c.batchSize, c.inHeight, c.inWidth, ci, c.outHeight, c.outWidth, co, c.filterHeight, c.filterWidth];
  const steps = [c.strideHeight, c.strideWidth, c.padInfo.top, c.padInfo.left];
  const taps = c.filterHeight * c.filterWidth;
  const multiplications = c.batchSize * c.outHeight * c.outWidth * taps * ci * co;
  device.overBlocks('filterGradient', [...addresses, ...sizes, ...steps], taps * Math.ceil(ci / 4), multiplications);
  return out;
}
