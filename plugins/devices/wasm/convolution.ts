import type { TensorInfo } from '../../../core/tf.js';
import type { ConvInfo } from '../compute/kernels.js';
import type { WasmDevice } from './device.js';
import { type Added, PANEL, pack, ROWS } from './matrix.js';
import { ROOM } from './workers.js';

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

function walked(device: WasmDevice, x: TensorInfo, packed: number, c: ConvInfo, walk: Walk, { bias, rest }: Added): TensorInfo {
  const { from, to, stride, spread, before } = walk;
  const out = device.newTensor([c.batchSize, to.height, to.width, to.channels]);
  const zeros = device.scratch.zeros(4 * from.channels);
  const added = [bias ? device.address(bias) : 0, rest ? device.address(rest) : 0];
  const images = [c.batchSize, from.height, from.width, from.channels, to.height, to.width, to.channels];
  const isPlain = c.filterHeight === 3 && c.filterWidth === 3 && [...stride, ...spread].every((step) => step === 1);
  const channels = [from.channels, to.channels];
  if (isPlain && channels.every((count) => count % 4 === 0 && count >= WORTH_TRANSFORMING)) {
    const tiles = c.batchSize * Math.ceil(to.height / 2) * Math.ceil(to.width / 2);
    const inRoom = Math.floor((ROOM - 4 * ROWS) / (64 * (from.channels + to.channels)));
    // Fewer at a time where threads would have nothing to do.
    const atOnce = Math.min(ROWS, 4 * Math.ceil(tiles / device.threads / 8), inRoom);
    if (atOnce > 0) {
      const panels = Math.ceil(to.channels / PANEL);
      const filters = device.scratch.at('filters', 64 * PANEL * panels * from.channels);
      device.overBlocks('winogradFilter', [packed, filters, from.channels, panels], panels, 16 * PANEL * panels * from.channels);
      const args = [device.address(x), filters, device.address(out), ...added, zeros, ...images, ...before, atOnce];
      device.overBlocks('winograd', args, Math.ceil(tiles / atOnce), 16 * tiles * from.channels * to.channels);
      return out;
    }
  }
  const addresses = [device.address(x), packed, device.address(out), ...added, zeros];
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
export function conv2d(device: WasmDevice, x: TensorInfo, filter: TensorInfo, c: ConvInfo, added: Added = {}): TensorInfo {
  const [ci, co] = [c.inChannels, c.outChannels];
  const taps = c.filterHeight * c.filterWidth;
  const packed = pack(device, { at: device.address(filter), taps, k: ci, n: co, tapStep: ci * co, rowStep: co, columnStep: 1 });
  const stride = [c.strideHeight, c.strideWidth] as const;
  const before = [c.padInfo.top, c.padInfo.left] as const;
  return walked(device, x, packed, c, { from: inner(c), to: outer(c), stride, spread: [1, 1], before }, added);
}

/** dx as a convolution of dy, spread out by the stride, with the filter turned round and its channels exchanged. */
export function conv2dInputGradient(device: WasmDevice, dy: TensorInfo, filter: TensorInfo, c: ConvInfo): TensorInfo {
  const [ci, co] = [c.inChannels, c.outChannels];
  const taps = c.filterHeight * c.filterWidth;
  const last = device.address(filter) + 4 * (taps - 1) * ci * co;
  const packed = pack(device, { at: last, taps, k: co, n: ci, tapStep: -ci * co, rowStep: 1, columnStep: co });
  const before = [c.filterHeight - 1 - c.padInfo.top, c.filterWidth - 1 - c.padInfo.left] as const;
  const spread = [c.strideHeight, c.strideWidth] as const;
  return walked(device, dy, packed, c, { from: outer(c), to: inner(c), stride: [1, 1], spread, before }, {});
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
