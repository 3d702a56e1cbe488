/** A picture's pixels, row by row from the top. */
export interface Bitmap {
  readonly width: number;
  readonly height: number;
  readonly channels: 3 | 4;
  readonly data: Uint8Array;
}

/** What the headers of a BMP file say (BITMAPINFOHEADER and its later forms). */
interface Header {
  readonly width: number;
  readonly height: number;
  /** Whether rows go from the top down. */
  readonly isTopDown: boolean;
  readonly bits: number;
  /** Where the palette begins, of how many colours, and where the pixels do. */
  readonly palette: number;
  readonly colours: number;
  readonly pixels: number;
  /** Bits of red, green, blue and alpha in a pixel of 16 or 32 bits. */
  readonly masks: readonly number[];
}

/** Bytes that hold all of the headers. */
export const BMP_HEADER = 138;
const MASKS: Readonly<Record<number, readonly number[]>> = { 16: [0x7c00, 0x3e0, 0x1f, 0], 32: [0xff0000, 0xff00, 0xff, 0] };

/** Reads the headers; throws an Error that says what is wrong. */
export function bmpHeader(bytes: Uint8Array): Header {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.byteLength < 54 || view.getUint16(0, true) !== 0x4d42) throw new Error('it is no BMP file');
  const size = view.getUint32(14, true);
  if (size < 40) throw new Error('it is a BMP file of OS/2');
  const [width, signed] = [view.getInt32(18, true), view.getInt32(22, true)];
  const [bits, compression, colours] = [view.getUint16(28, true), view.getUint32(30, true), view.getUint32(46, true)];
  if (width <= 0 || signed === 0) throw new Error('it has no pixels');
  if (![1, 4, 8, 16, 24, 32].includes(bits)) throw new Error(`it has ${bits} bits a pixel`);
  const hasMasks = (compression === 3 || compression === 6) && (bits === 16 || bits === 32);
  if (compression !== 0 && !hasMasks) throw new Error(`its pixels are compressed (kind ${compression})`);
  // They follow the first header, or stand in a later form of it; alpha is there in the latter alone.
  const maskAt = (i: number) => (i === 3 && size < 56 && compression !== 6 ? 0 : view.getUint32(54 + 4 * i, true));
  if (hasMasks && bytes.byteLength < 70) throw new Error('it is cut short');
  return {
    width,
    height: Math.abs(signed),
    isTopDown: signed < 0,
    bits,
    palette: 14 + size,
    colours: bits > 8 ? 0 : colours || 2 ** bits,
    pixels: view.getUint32(10, true),
    masks: hasMasks ? [0, 1, 2, 3].map(maskAt) : (MASKS[bits] ?? []),
  };
}

/** The part of a pixel that a mask covers, as a byte. */
function partOf(pixel: number, mask: number): number {
  if (mask === 0) return 255;
  const shift = Math.clz32(mask & -mask) ^ 31;
  return Math.round((((pixel & mask) >>> shift) * 255) / (mask >>> shift));
}

/** Decodes a BMP file without compression, which sharp does not read. Throws an Error that says what is wrong. */
export function readBmp(bytes: Uint8Array): Bitmap {
  const { width, height, isTopDown, bits, palette, colours, pixels, masks } = bmpHeader(bytes);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  // Rows are whole numbers of four bytes.
  const stride = Math.ceil((width * bits) / 32) * 4;
  if (pixels + stride * height > bytes.byteLength || palette + colours * 4 > bytes.byteLength) throw new Error('it is cut short');
  const channels = masks[3] ? 4 : 3;
  const data = new Uint8Array(width * height * channels);
  for (let y = 0; y < height; y++) {
    const row = pixels + stride * (isTopDown ? y : height - 1 - y);
    for (let x = 0; x < width; x++) {
      const out = (y * width + x) * channels;
      if (bits === 16 || bits === 32) {
        const pixel = bits === 16 ? view.getUint16(row + 2 * x, true) : view.getUint32(row + 4 * x, true);
        for (let k = 0; k < channels; k++) data[out + k] = partOf(pixel, masks[k]);
        continue;
      }
      const perByte = 8 / bits;
      const index = bits === 24 ? 0 : (bytes[row + Math.floor(x / perByte)] >> (8 - bits * ((x % perByte) + 1))) & (2 ** bits - 1);
      const from = bits === 24 ? row + 3 * x : palette + 4 * Math.min(index, colours - 1);
      // Blue comes first.
      for (let k = 0; k < 3; k++) data[out + k] = bytes[from + 2 - k];
    }
  }
  return { width, height, channels, data };
}
