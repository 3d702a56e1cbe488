import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { decodeImage } from '../../../../plugins/data/image-folder/decode.js';

const fixture = (name: string) => fileURLToPath(new URL(`../../../fixtures/pictures/${name}`, import.meta.url));
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'steploom-decode-'));
});
afterAll(() => rm(folder, { recursive: true }));

const [width, height] = [9, 5];
const decoded = (path: string, resolution = height) =>
  decodeImage(path, [resolution, resolution], { maxPixels: 1e6, interpolation: 'lanczos', background: 'white', keepAlpha: false });
const pixels = (colour: (x: number, y: number) => readonly number[]) =>
  Uint8Array.from(Array.from({ length: width * height }, (_, i) => colour(i % width, Math.floor(i / width))).flat());
const COLOUR = pixels((x, y) => [28 * x, 60 * y, 100]);

test.each([
  ['rgb.bmp', COLOUR],
  ['rgba.bmp', COLOUR],
  ['palette.bmp', COLOUR],
  ['grey.bmp', pixels((x) => [28 * x, 28 * x, 28 * x])],
  ['bits.bmp', pixels((x, y) => new Array(3).fill(((x + y + 1) % 2) * 255))],
])('%s, as pillow writes it', async (name, expected) => {
  const image = await decoded(fixture(name));
  expect([image.original, image.width, image.height]).toEqual([[height, width], width, height]);
  expect(image.bytes).toEqual(expected);
});

test('a BMP file of 16 bits, from the top down; with alpha; damaged ones', async () => {
  const rgb = await readFile(fixture('rgb.bmp'));
  const bitmap = async (change: (file: Buffer) => void, size = 54 + 16 + 4) => {
    const file = Buffer.alloc(size);
    rgb.copy(file, 0, 0, 54);
    // One row of two pixels.
    file.writeInt32LE(2, 18);
    file.writeInt32LE(-1, 22);
    change(file);
    await writeFile(join(folder, 'x.bmp'), file);
    return decoded(join(folder, 'x.bmp'), 1);
  };
  const fiveBits = await bitmap((file) => {
    file.writeUInt16LE(16, 28);
    file.writeUInt16LE(0b11111_00000_00001, 54);
    file.writeUInt16LE(0b00000_11111_00000, 56);
  });
  expect([...fiveBits.bytes]).toEqual([255, 0, 8, 0, 255, 0]);
  const masks = (file: Buffer) => {
    file.writeUInt16LE(32, 28);
    file.writeUInt32LE(6, 30);
    file.writeUInt32LE(70, 10);
    for (const [i, mask] of [0xff, 0xff00, 0xff0000, 0xff000000].entries()) file.writeUInt32LE(mask, 54 + 4 * i);
    file.writeUInt32LE(0xff0000ff, 70);
  };
  // What is transparent lies on white.
  expect([...(await bitmap(masks, 78)).bytes]).toEqual([255, 0, 0, 255, 255, 255]);
  await expect(bitmap(masks, 74)).rejects.toThrow(/BAD_IMAGE.*x\.bmp cannot be decoded: it is cut short/);
  await expect(bitmap((file) => file.writeUInt32LE(1, 30))).rejects.toThrow(/its pixels are compressed \(kind 1\)/);
  await expect(bitmap((file) => file.write('XX'))).rejects.toThrow(/it is no BMP file/);
});

test('.tiff and .avif, and the first frame of a .gif', async () => {
  const frame = (background: string) =>
    sharp({ create: { width, height, channels: 3, background } })
      .png()
      .toBuffer();
  await sharp([await frame('#ff0000'), await frame('#0000ff')], { join: { animated: true } }).toFile(join(folder, 'x.gif'));
  await sharp(await frame('#ff0000')).toFile(join(folder, 'x.tiff'));
  await sharp(await frame('#ff0000'))
    .avif({ lossless: true })
    .toFile(join(folder, 'x.avif'));
  for (const kind of ['gif', 'tiff', 'avif']) {
    const { bytes, original } = await decoded(join(folder, `x.${kind}`));
    expect(original, kind).toEqual([height, width]);
    for (const [i, value] of bytes.entries()) expect(Math.abs(value - (i % 3 === 0 ? 255 : 0)), kind).toBeLessThan(4);
  }
});
