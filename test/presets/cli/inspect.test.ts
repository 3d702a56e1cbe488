import { copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { inThisProcess } from '../../support/command-line.js';

const model = fileURLToPath(new URL('../../fixtures/pipelines/sd15', import.meta.url));
let place: string;
const at = (...names: string[]) => join(place, 'my', ...names);
const waves = (width: number, height: number, speed: number) =>
  sharp(
    Uint8Array.from(
      { length: width * height * 3 },
      (_, i) => 128 + 90 * Math.sin((speed * (Math.floor(i / 3) % width)) / width + (3 * i) / width / height + (i % 3)),
    ),
    { raw: { width, height, channels: 3 } },
  );
const caption = (name: string, text: string) => writeFile(at(`${name}.txt`), text);

beforeAll(async () => {
  place = await mkdtemp(join(tmpdir(), 'steploom-inspect-'));
  await mkdir(at('in'), { recursive: true });
  await waves(48, 24, 5).png().toFile(at('wide.png'));
  await copyFile(at('wide.png'), at('in', 'same.png'));
  await waves(48, 24, 5).resize(40, 20).jpeg({ quality: 80 }).toFile(at('in', 'like.jpg'));
  await waves(32, 16, 9).withMetadata({ orientation: 6 }).jpeg().toFile(at('turned.jpg'));
  await sharp({ create: { width: 12, height: 12, channels: 4, background: { r: 255, g: 0, b: 0, alpha: 0.5 } } }).toFile(at('half.png'));
  await sharp({ create: { width: 16, height: 16, channels: 4, background: { r: 0, g: 0, b: 255, alpha: 0 } } }).toFile(at('none.png'));
  await sharp({ create: { width: 16, height: 16, channels: 4, background: '#00ff00' } }).toFile(at('opaque.png'));
  await writeFile(at('broken.png'), 'no picture');
  // Its header is whole.
  await writeFile(at('cut.png'), (await waves(48, 24, 5).png().toBuffer()).subarray(0, 300));
  await writeFile(at('other.heic'), '');
  for (const name of ['wide', 'in/same', 'in/like', 'turned', 'none', 'opaque', 'broken', 'cut']) await caption(name, 'the cat');
  await caption('half', `the ${'cat '.repeat(100)}`);
});
afterAll(() => rm(place, { recursive: true }));

const inspect = (...args: string[]) => inThisProcess(place, ['inspect', ...args]);

test('everything that would be trained, as JSON', async () => {
  const flags = ['--use_aspect_ratio_buckets', '--bucket_step', '4', '--contact_sheet', 'sheet.png'];
  const { out, err, code } = await inspect('my', '--model', model, '--json', ...flags);
  expect([code, err]).toEqual([0, expect.stringContaining('wrote sheet.png')]);
  const found = JSON.parse(out);
  expect(found).toEqual({
    images: 7,
    shown: 7,
    sizes: [
      { width: 12, height: 20, images: 1 },
      { width: 12, height: 12, images: 1 },
      { width: 16, height: 16, images: 2 },
      { width: 20, height: 12, images: 3 },
    ],
    smallest: [12, 12],
    largest: [48, 24],
    small: ['half.png'],
    turned: ['turned.jpg'],
    transparent: ['half.png'],
    invisible: ['none.png'],
    unreadable: [
      { image: 'broken.png', why: expect.stringMatching(/^cannot be decoded/) },
      { image: 'cut.png', why: expect.any(String) },
    ],
    captions: {
      limit: expect.any(Number),
      long: [{ image: 'half.png', tokens: expect.any(Number) }],
      unknown: [],
      pieces: expect.any(Array),
      once: [],
    },
    captionless: false,
    same: [['in/same.png', 'wide.png']],
    alike: [['in/like.jpg', 'in/same.png']],
    problems: [],
    leftOut: [expect.stringContaining('other.heic')],
  });
  expect(found.captions.long[0].tokens).toBeGreaterThan(found.captions.limit);
  // Eight places in three columns; each picture cut to its size.
  const { data, info } = await sharp(join(place, 'sheet.png')).raw().toBuffer({ resolveWithObject: true });
  expect([info.width, info.height]).toEqual([3 * 98 + 2, 3 * 98 + 2]);
  expect(data.some((value) => value !== 128)).toBe(true);
  expect((await inspect('my', '--contact_sheet', 'sheet.png')).err).toMatch(/OPTION_INVALID.*sheet\.png is there already/);
});

test('the same for reading, in squares; what would keep a run from starting', async () => {
  await rm(at('opaque.txt'));
  const { out, code } = await inspect('my', '--model', model);
  expect(code).toBe(0);
  const lines = out.split('\n').map((line) => line.replace(/ +/g, ' '));
  expect(lines.slice(0, 4)).toEqual([
    'images 6 in my',
    ' 12 x 12 to 48 x 24 pixels, trained at 16',
    'sizes 16 x 16: 6',
    'small 1 are smaller than that: half.png',
  ]);
  for (const line of [
    'turned 1 are turned as their cameras say: turned.jpg',
    'same 1 groups of images have the same bytes: in/same.png = wide.png',
    'alike 1 groups of images look alike: in/like.jpg ~ in/same.png',
    'problem 1 images in my have no caption: opaque.png',
  ])
    expect(lines).toContain(line);
  expect((await inspect('my', '--bucket_step', '32')).err).toContain('--bucket_step has no effect without --use_aspect_ratio_buckets');
  expect(await inspect('nowhere')).toMatchObject({ code: 2, err: expect.stringMatching(/DATA_INVALID.*there is no folder nowhere/) });
  const wrong = await inspect('my', '--model', model, '--use_aspect_ratio_buckets', '--bucket_step', '6');
  expect(wrong).toMatchObject({ code: 2, err: expect.stringMatching(/OPTION_INVALID.*--bucket_step is 6.*multiples of 4/) });
});

test('images of one thing need no captions; what they show may be given', async () => {
  const folder = join(place, 'thing');
  await mkdir(folder);
  for (const speed of [3, 9])
    await waves(32, 32, speed)
      .png()
      .toFile(join(folder, `${speed}.png`));
  const bare = await inspect('thing', '--model', model);
  expect(bare).toMatchObject({ code: 0, err: expect.not.stringContaining('effect') });
  expect(bare.out).toMatch(/^captions +none: dreambooth-lora .*--instance_prompt/m);
  expect(bare.out).not.toContain('problem');
  const told = await inspect('thing', '--model', model, '--instance_prompt', 'sks '.repeat(100), '--folder_repeats', '--json');
  expect(told).toMatchObject({ code: 0, err: expect.stringContaining('--folder_repeats has no effect with --instance_prompt') });
  const found = JSON.parse(told.out);
  expect(found).toMatchObject({ captionless: false, problems: [], shown: 2 });
  expect(found.captions.long).toHaveLength(2);
  // Where some have one, the others lack theirs.
  await writeFile(join(folder, '3.txt'), 'a cat');
  expect((await inspect('thing', '--model', model)).out).toMatch(/^problem +1 images in thing have no caption: 9\.png/m);
});
