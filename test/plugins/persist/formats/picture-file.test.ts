import sharp from 'sharp';
import { expect, test } from 'vitest';
import { kindOfPicture, pictureFile } from '../../../../plugins/persist/formats/picture-file.js';

const red = () => sharp({ create: { width: 24, height: 16, channels: 3, background: 'red' } });
const TEXTS = ['a ghost\nSteps: 20, Seed: 1', 'größer, Ärger', 'ein 👻, 幽霊', ''];

test.each(TEXTS)('a PNG holds the text %j where others look for it', async (text) => {
  const { comments, format, width } = await sharp(await pictureFile(red(), 'x.png', text)).metadata();
  expect([format, width, comments]).toEqual(['png', 24, [{ keyword: 'parameters', text }]]);
});

test.each(['a.jpg', 'b.JPEG', 'c.webp'].flatMap((path) => TEXTS.slice(0, 3).map((text) => [path, text])))(
  '%s holds the text %j as EXIF’s UserComment',
  async (path, text) => {
    const { exif, format, width } = await sharp(await pictureFile(red(), path, text)).metadata();
    expect([format, width]).toEqual([kindOfPicture(path), 24]);
    // The value of tag 0x9286 of type 7: eight bytes that name the letters' code, and the letters.
    const tiff = (exif as Buffer).subarray(6);
    const entry = tiff.indexOf(Buffer.of(0x86, 0x92, 7, 0));
    const [length, at] = [tiff.readUInt32LE(entry + 4), tiff.readUInt32LE(entry + 8)];
    const value = Buffer.from(tiff.subarray(at, at + length));
    expect(value.subarray(0, 8).toString('latin1')).toBe('UNICODE\0');
    expect(value.subarray(8).swap16().toString('utf16le')).toBe(text);
  },
);

test('without a text there is none, a very long one is cut where JPEG has no room, and other names are refused', async () => {
  for (const path of ['x.png', 'x.jpg']) {
    const { comments, exif } = await sharp(await pictureFile(red(), path)).metadata();
    expect([comments, exif]).toEqual([undefined, undefined]);
  }
  const { exif } = await sharp(await pictureFile(red(), 'x.jpg', 'long '.repeat(20_000))).metadata();
  expect(exif?.length).toBeGreaterThan(60_000);
  expect(() => kindOfPicture('x.gif')).toThrow(/OPTION_INVALID.*x\.gif.*\.png, \.jpg, \.jpeg, \.webp/);
  expect(() => kindOfPicture('folder')).toThrow(/OPTION_INVALID/);
});
