import { open, readFile } from 'node:fs/promises';
import { extname } from 'node:path';
import type { Sharp } from 'sharp';
import { fail, messageOf } from '../../../core/index.js';
import type { Size } from '../../models/unet/time-ids.js';
import { BMP_HEADER, bmpHeader, readBmp } from './bmp.js';
import { type Interpolation, KERNELS } from './interpolations.js';

/** Pixels that an image may have once it is scaled. */
const MOST_RESIZED = 16_000_000;

/** What a file's header says of its image. */
export interface Header {
  /** Turned as its camera says. */
  readonly size: Size;
  readonly isTurned: boolean;
  readonly hasAlpha: boolean;
}

/** An image that just covers what is cut out of it, as bytes of red, green and blue. */
export interface Decoded {
  /** Its size in the file, turned as its camera says. */
  readonly original: Size;
  readonly width: number;
  readonly height: number;
  readonly bytes: Uint8Array;
  /** How opaque its pixels are, a byte each, where that was asked for and the file says it. */
  readonly alpha?: Uint8Array;
}

/** How images are decoded. */
export interface Decoding {
  readonly maxPixels: number;
  readonly interpolation: Interpolation;
  /** The colour behind what is transparent. */
  readonly background: string;
  /** Keep how opaque pixels are. */
  readonly keepAlpha: boolean;
}

/** A picture to decode: a file by its path, or its bytes with the name that messages give it. */
export type PictureFile = string | { readonly name: string; readonly bytes: Uint8Array };

const nameOf = (file: PictureFile): string => (typeof file === 'string' ? file : file.name);
const contentOf = (file: PictureFile): string | Uint8Array => (typeof file === 'string' ? file : file.bytes);

const isBmp = (file: PictureFile): boolean =>
  typeof file === 'string' ? extname(file).toLowerCase() === '.bmp' : file.bytes[0] === 0x42 && file.bytes[1] === 0x4d;

/** What a file's header says, without reading all of it. */
async function sizeOf(from: PictureFile): Promise<{ width: number; height: number; orientation?: number; hasAlpha: boolean }> {
  const { default: sharp } = await import('sharp');
  // The limit is ours to say: sharp's message does not tell how large the image is.
  if (!isBmp(from)) return sharp(contentOf(from), { limitInputPixels: false }).metadata();
  const { width, height, masks } = bmpHeader(await beginningOf(from));
  return { width, height, hasAlpha: Boolean(masks[3]) };
}

/** As many bytes as a .bmp's header has at most. */
async function beginningOf(from: PictureFile): Promise<Uint8Array> {
  if (typeof from !== 'string') return from.bytes.subarray(0, BMP_HEADER);
  const file = await open(from);
  try {
    const { buffer, bytesRead } = await file.read(new Uint8Array(BMP_HEADER), 0, BMP_HEADER, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

/** A file as sharp takes it; of what moves, the first frame. */
export async function openImage(file: PictureFile, maxPixels: number): Promise<Sharp> {
  const { default: sharp } = await import('sharp');
  if (!isBmp(file)) return sharp(contentOf(file), { limitInputPixels: maxPixels });
  const { data, width, height, channels } = readBmp(typeof file === 'string' ? await readFile(file) : file.bytes);
  return sharp(data, { raw: { width, height, channels } });
}

/** Looks at an image's header alone: whether it is one, and not too large (BAD_IMAGE). */
export async function readHeader(file: PictureFile, maxPixels: number): Promise<Header> {
  const bad = (what: string, fix: string, cause?: unknown): never =>
    fail('BAD_IMAGE', 'image-folder', `${nameOf(file)} ${what}`, fix, cause);
  let size: Awaited<ReturnType<typeof sizeOf>>;
  try {
    size = await sizeOf(file);
  } catch (error) {
    return bad(`cannot be decoded: ${messageOf(error)}`, 'Replace or remove the file.', error);
  }
  const { width, height } = size;
  if (!(width > 0 && height > 0)) bad('has no pixels', 'Replace or remove the file.');
  if (width * height > maxPixels) bad(`has ${width} x ${height} pixels, more than ${maxPixels}`, 'Make it smaller, or raise maxPixels.');
  // From 5 on its rows are columns (EXIF 2.32, orientation).
  const { orientation = 1 } = size;
  return { size: orientation >= 5 ? [width, height] : [height, width], isTurned: orientation > 1, hasAlpha: size.hasAlpha };
}

/** BAD_IMAGE where an image that covers `target` would have too many pixels. */
export function refuseNarrow(file: PictureFile, { size: [height, width] }: Header, target: Size): void {
  const scale = Math.max(target[0] / height, target[1] / width);
  if (width * scale * height * scale > MOST_RESIZED)
    fail(
      'BAD_IMAGE',
      'image-folder',
      `${nameOf(file)} is too narrow: ${width} x ${height} pixels, whose short side would become ${Math.min(...target)}`,
      'Cut or remove it.',
    );
}

/** Decodes an image whole, scaled so that it just covers `target`; BAD_IMAGE where that cannot be done. Needs sharp. */
export async function decodeImage(file: PictureFile, target: Size, decoding: Decoding): Promise<Decoded> {
  const { maxPixels, interpolation, background, keepAlpha } = decoding;
  const header = await readHeader(file, maxPixels);
  refuseNarrow(file, header, target);
  const bad = (why: string, cause?: unknown): never =>
    fail('BAD_IMAGE', 'image-folder', `${nameOf(file)} cannot be decoded: ${why}`, 'Replace or remove the file.', cause);
  /** Turned as its camera says, on the background where it is transparent, or with its alpha. */
  const decode = async (withAlpha: boolean) => {
    const turned = (await openImage(file, maxPixels)).rotate();
    const scaled = (withAlpha ? turned.ensureAlpha() : turned.flatten({ background }))
      .toColourspace('srgb')
      .resize({ width: target[1], height: target[0], fit: 'outside', kernel: KERNELS[interpolation] });
    return (withAlpha ? scaled : scaled.removeAlpha()).raw().toBuffer({ resolveWithObject: true });
  };
  const decoded = async (withAlpha: boolean) => {
    const { data, info } = await decode(withAlpha).catch((error: unknown) => bad(messageOf(error), error));
    if (info.channels !== (withAlpha ? 4 : 3)) bad(`it has ${info.channels} channels`);
    return { data, info };
  };
  const { data, info } = await decoded(false);
  const alpha = keepAlpha && header.hasAlpha ? (await decoded(true)).data.filter((_, i) => i % 4 === 3) : null;
  return {
    original: header.size,
    width: info.width,
    height: info.height,
    bytes: new Uint8Array(data),
    ...(alpha ? { alpha: new Uint8Array(alpha) } : {}),
  };
}

/** What is cut out of an image, and how it is shown. */
export interface Cut {
  readonly size: Size;
  readonly left: number;
  readonly top: number;
  /** Mirrored, left to right. */
  readonly flip: boolean;
}

/** Part of an image as [h, w, 3] in [-1, 1]. */
export function cut({ width, bytes }: Decoded, { size: [h, w], left, top, flip }: Cut, out: Float32Array): void {
  for (let y = 0; y < h; y++)
    for (let x = 0; x < w; x++) {
      const from = ((top + y) * width + left + (flip ? w - 1 - x : x)) * 3;
      for (let k = 0; k < 3; k++) out[(y * w + x) * 3 + k] = bytes[from + k] / 127.5 - 1;
    }
}
