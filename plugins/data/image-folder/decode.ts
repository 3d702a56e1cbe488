import { open, readFile } from 'node:fs/promises';
import { extname } from 'node:path';
import type { Sharp } from 'sharp';
import { fail, messageOf } from '../../../core/index.js';
import { BMP_HEADER, bmpHeader, readBmp } from './bmp.js';
import { type Interpolation, KERNELS } from './interpolations.js';

/** Pixels that an image may have once its short side is the resolution. */
const MOST_RESIZED = 16_000_000;

/** An image whose short side is the resolution, as bytes of red, green and blue. */
export interface Decoded {
  /** Its height and width in the file, turned as its camera says. */
  readonly original: readonly [height: number, width: number];
  readonly width: number;
  readonly height: number;
  readonly bytes: Uint8Array;
}

/** How images are decoded. */
export interface Decoding {
  readonly resolution: number;
  readonly maxPixels: number;
  readonly interpolation: Interpolation;
  /** The colour behind what is transparent. */
  readonly background: string;
}

/** A picture to decode: a file by its path, or its bytes with the name that messages give it. */
export type PictureFile = string | { readonly name: string; readonly bytes: Uint8Array };

const nameOf = (file: PictureFile): string => (typeof file === 'string' ? file : file.name);
const contentOf = (file: PictureFile): string | Uint8Array => (typeof file === 'string' ? file : file.bytes);

const isBmp = (file: PictureFile): boolean =>
  typeof file === 'string' ? extname(file).toLowerCase() === '.bmp' : file.bytes[0] === 0x42 && file.bytes[1] === 0x4d;

/** What a file's header says, without reading all of it. */
async function sizeOf(from: PictureFile): Promise<{ width: number; height: number; orientation?: number }> {
  const { default: sharp } = await import('sharp');
  // The limit is ours to say: sharp's message does not tell how large the image is.
  if (!isBmp(from)) return sharp(contentOf(from), { limitInputPixels: false }).metadata();
  if (typeof from !== 'string') return bmpHeader(from.bytes.subarray(0, BMP_HEADER));
  const file = await open(from);
  try {
    const { buffer, bytesRead } = await file.read(new Uint8Array(BMP_HEADER), 0, BMP_HEADER, 0);
    return bmpHeader(buffer.subarray(0, bytesRead));
  } finally {
    await file.close();
  }
}

/** A file as sharp takes it; of what moves, the first frame. */
async function opened(file: PictureFile, maxPixels: number): Promise<Sharp> {
  const { default: sharp } = await import('sharp');
  if (!isBmp(file)) return sharp(contentOf(file), { limitInputPixels: maxPixels });
  const { data, width, height, channels } = readBmp(typeof file === 'string' ? await readFile(file) : file.bytes);
  return sharp(data, { raw: { width, height, channels } });
}

/** Looks at an image's header alone: whether it is one, and not too large. Returns its height and width. */
export async function checkHeader(
  file: PictureFile,
  { resolution, maxPixels }: Decoding,
): Promise<readonly [height: number, width: number]> {
  const bad = (what: string, fix: string, cause?: unknown): never =>
    fail('BAD_IMAGE', 'image-folder', `${nameOf(file)} ${what}`, fix, cause);
  let size: { width: number; height: number; orientation?: number };
  try {
    size = await sizeOf(file);
  } catch (error) {
    return bad(`cannot be decoded: ${messageOf(error)}`, 'Replace or remove the file.', error);
  }
  const { width, height } = size;
  if (!(width > 0 && height > 0)) bad('has no pixels', 'Replace or remove the file.');
  if (width * height > maxPixels) bad(`has ${width} x ${height} pixels, more than ${maxPixels}`, 'Make it smaller, or raise maxPixels.');
  const scale = resolution / Math.min(width, height);
  if (width * scale * height * scale > MOST_RESIZED)
    bad(`is too narrow: ${width} x ${height} pixels, whose short side would become ${resolution}`, 'Cut or remove it.');
  // From 5 on its rows are columns (EXIF 2.32, orientation).
  return (size.orientation ?? 1) >= 5 ? [width, height] : [height, width];
}

/** Decodes an image whole; BAD_IMAGE where that cannot be done. Needs sharp. */
export async function decodeImage(file: PictureFile, decoding: Decoding): Promise<Decoded> {
  const { resolution, maxPixels, interpolation, background } = decoding;
  const original = await checkHeader(file, decoding);
  const bad = (why: string, cause?: unknown): never =>
    fail('BAD_IMAGE', 'image-folder', `${nameOf(file)} cannot be decoded: ${why}`, 'Replace or remove the file.', cause);
  const decode = async () =>
    // Turned as its camera says, on the background where it is transparent, the short side brought to the resolution.
    (await opened(file, maxPixels))
      .rotate()
      .flatten({ background })
      .toColourspace('srgb')
      .resize({ width: resolution, height: resolution, fit: 'outside', kernel: KERNELS[interpolation] })
      .removeAlpha()
      .raw()
      .toBuffer({ resolveWithObject: true });
  const { data, info } = await decode().catch((error: unknown) => bad(messageOf(error), error));
  if (info.channels !== 3) bad(`it has ${info.channels} channels`);
  return { original, width: info.width, height: info.height, bytes: new Uint8Array(data) };
}

/** A square of an image, mirrored or not, as [side, side, 3] in [-1, 1]. */
export function cut({ width, bytes }: Decoded, side: number, left: number, top: number, flip: boolean, out: Float32Array): void {
  for (let y = 0; y < side; y++)
    for (let x = 0; x < side; x++) {
      const from = ((top + y) * width + left + (flip ? side - 1 - x : x)) * 3;
      for (let k = 0; k < 3; k++) out[(y * side + x) * 3 + k] = bytes[from + k] / 127.5 - 1;
    }
}
