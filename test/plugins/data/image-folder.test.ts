import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Problems, type Source, seededRandom } from '../../../core/index.js';
import * as tf from '../../../core/tf.js';
import { imageFolder } from '../../../plugins/data/image-folder.js';

let folder: string;
const path = (...names: string[]) => join(folder, ...names);
const solid = (file: string, width: number, height: number, background: string) =>
  sharp({ create: { width, height, channels: 3, background } }).toFile(file);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'steploom-'));
  await solid(path('red.png'), 16, 8, '#ff0000');
  await solid(path('green.jpg'), 8, 8, '#00ff00');
  await solid(path('blue.webp'), 8, 24, '#0000ff');
});
afterAll(() => rm(folder, { recursive: true }));
const metadata = (...lines: string[]) => writeFile(path('metadata.jsonl'), lines.join('\n'));

/** Opens a data plugin as the core does. */
async function open(plugin: ReturnType<typeof imageFolder>, seed = 0): Promise<{ source: Source; problems: string[]; warnings: string[] }> {
  const problems = new Problems();
  const warnings: string[] = [];
  let validate: (problems: unknown) => Promise<void> = async () => {};
  plugin.apply({
    hooks: { validate: { tapPromise: (fn: typeof validate) => void (validate = fn) } },
    resolve: () => seededRandom(seed),
    warn: (text: string) => warnings.push(text),
    isFirstRank: () => true,
  } as never);
  await validate(problems);
  return { source: await plugin.open(), problems: problems.list.map(({ what }) => what), warnings };
}

describe('an image folder', () => {
  test('metadata.jsonl gives captions; images are cut square and scaled to [-1, 1]', async () => {
    await metadata(
      '{"file_name": "red.png", "text": "a red one"}',
      '',
      '{"file_name": "blue.webp", "text": "a blue one"}',
      '{"file_name": "green.jpg", "text": "a green one"}',
    );
    const { source, problems } = await open(imageFolder(folder, { batchSize: 2, resolution: 4, shuffle: false }));
    expect(problems).toEqual([]);
    expect(source.items).toBe(3);
    const batch = await source.load([0, 1], { epoch: 0, upcoming: [2] });
    expect(batch.strings?.text).toEqual(['a red one', 'a blue one']);
    expect(batch.tensors.images.shape).toEqual([2, 4, 4, 3]);
    const values = batch.tensors.images.dataSync();
    expect([...values.slice(0, 3)]).toEqual([1, -1, -1]);
    expect(values[4 * 4 * 3 + 2]).toBeCloseTo(1, 1);
    batch.tensors.images.dispose();
  });

  test('crops and flips belong to epoch and image, whatever the batch', async () => {
    const stripes = Buffer.from(Uint8Array.from({ length: 32 * 8 * 3 }, (_, i) => (Math.floor(i / 3) % 32) * 8));
    await sharp(stripes, { raw: { width: 32, height: 8, channels: 3 } }).toFile(path('stripes.png'));
    await metadata(...Array.from({ length: 6 }, () => '{"file_name": "stripes.png", "text": "x"}'));
    const { source } = await open(imageFolder(folder, { batchSize: 2, resolution: 8, randomFlip: true }));
    const rows = async (ids: number[], epoch: number) => {
      const batch = await source.load(ids, { epoch, upcoming: [] });
      const data = await batch.tensors.images.data();
      batch.tensors.images.dispose();
      return ids.map((_, i) => data.slice(i * 192, (i + 1) * 192).join());
    };
    const [a, b] = await rows([1, 4], 0);
    expect(await rows([4, 0, 1], 0)).toEqual([b, expect.any(String), a]);
    expect(new Set([...(await rows([0, 1, 2, 3, 4, 5], 0)), ...(await rows([0, 1, 2, 3, 4, 5], 1))]).size).toBeGreaterThan(6);
  });

  test('of more images than are wanted the seed draws; images are brought to the resolution as asked', async () => {
    await metadata(...['red.png', 'blue.webp', 'green.jpg'].map((name) => JSON.stringify({ file_name: name, text: name })));
    const drawn = async (seed: number, maxSamples: number) =>
      (await open(imageFolder(folder, { batchSize: 1, resolution: 4, maxSamples }), seed)).source.strings?.text;
    expect(await drawn(1, 2)).toEqual(await drawn(1, 2));
    const seeds = await Promise.all(Array.from({ length: 8 }, (_, seed) => drawn(seed, 1)));
    expect(new Set(seeds.flat()).size).toBe(3);
    expect(await drawn(0, 3)).toEqual(['red.png', 'blue.webp', 'green.jpg']);
    const checks = Buffer.from(Uint8Array.from({ length: 8 * 8 * 3 }, (_, i) => (Math.floor(i / 3) % 2) * 255));
    await sharp(checks, { raw: { width: 8, height: 8, channels: 3 } }).toFile(path('checks.png'));
    await metadata('{"file_name": "checks.png", "text": "x"}');
    const pixels = async (interpolation: 'lanczos' | 'nearest') => {
      const { source } = await open(imageFolder(folder, { batchSize: 1, resolution: 4, interpolation }));
      const { images } = (await source.load([0], { epoch: 0, upcoming: [] })).tensors;
      const values = new Set(images.dataSync());
      images.dispose();
      return values;
    };
    // One of two neighbours, or what is between them.
    expect([...(await pixels('nearest'))].every((value) => Math.abs(value) === 1)).toBe(true);
    expect([...(await pixels('lanczos'))].some((value) => Math.abs(value) < 0.5)).toBe(true);
    await rm(path('checks.png'));
  });

  test('each image goes with one of its class, which need not be drawn yet; the fewer begin again', async () => {
    const [own, dogs] = [await mkdtemp(join(tmpdir(), 'steploom-')), await mkdtemp(join(tmpdir(), 'steploom-'))];
    await solid(join(own, 'a.png'), 8, 8, 'red');
    await solid(join(own, 'b.png'), 8, 8, 'red');
    await solid(join(dogs, 'found.png'), 8, 8, 'blue');
    const prior = { folder: dogs, caption: 'a dog', count: 3, weight: 0.5 };
    const options = { batchSize: 2, resolution: 8, caption: 'a sks dog', randomFlip: true };
    const opened = () => open(imageFolder(own, { ...options, prior }));
    const { source, problems } = await opened();
    expect([problems, source.items, source.batchSize]).toEqual([[], 6, 4]);
    const ids = Array.from(source.ids(0));
    for (let i = 0; i < 6; i += 2) expect([ids[i] < 3, ids[i + 1] - ids[i]]).toEqual([true, 3]);
    expect(new Set(ids).size).toBe(6);
    expect([0, 1, 2, 3, 4, 5].map((id) => source.nameOf?.(id))).toEqual(
      [join(own, 'a.png'), join(own, 'b.png'), join(own, 'a.png')].concat(
        ['found', 'class-0', 'class-1'].map((name) => join(dogs, `${name}.png`)),
      ),
    );
    const fingerprint = await source.fingerprint?.();
    await solid(join(dogs, 'class-0.png'), 8, 8, 'blue');
    await solid(join(dogs, 'class-1.png'), 8, 8, 'blue');
    // They are the same pictures, now that they are drawn.
    expect(await (await opened()).source.fingerprint?.()).toBe(fingerprint);
    const batch = await source.load(ids.slice(0, 4), { epoch: 0, upcoming: [] });
    expect(batch.strings?.text).toEqual(['a sks dog', 'a dog', 'a sks dog', 'a dog']);
    expect(batch.numbers?.weight).toEqual([[2], [1], [2], [1]]);
    expect(Array.from(batch.tensors.images.slice([1, 0, 0, 0], [1, 1, 1, 3]).dataSync())).toEqual([-1, -1, 1]);
    batch.tensors.images.dispose();
    expect((await open(imageFolder(own, options))).source.items).toBe(2);
    await writeFile(join(dogs, 'file'), '');
    const wrong = await open(imageFolder(own, { ...options, prior: { ...prior, folder: join(dogs, 'file'), weight: -1 } }));
    expect(wrong.problems).toEqual([expect.stringContaining('prior.weight is -1'), expect.stringContaining('ENOTDIR')]);
    await rm(own, { recursive: true });
    await rm(dogs, { recursive: true });
  });

  test('captions are prefixed and shuffled by epoch and example; repeated images are examples of their own', async () => {
    const other = await mkdtemp(join(tmpdir(), 'steploom-'));
    await mkdir(join(other, '3_dogs'));
    await solid(join(other, '3_dogs', 'a.png'), 8, 8, 'red');
    await writeFile(join(other, '3_dogs', 'a.txt'), 'sks , one,two,three,four');
    const options = { batchSize: 3, resolution: 8, folderRepeats: true, shuffleCaption: true, keepTokens: 1, captionPrefix: 'photo,' };
    const { source, problems } = await open(imageFolder(other, options));
    expect(problems).toEqual([]);
    expect([source.items, source.strings?.text]).toEqual([3, new Array(3).fill('photo, sks , one,two,three,four')]);
    const shown = async (ids: number[], epoch: number) => {
      const batch = await source.load(ids, { epoch, upcoming: [] });
      tf.dispose(batch.tensors);
      return batch.strings?.text ?? [];
    };
    const first = await shown([0, 1, 2], 0);
    expect(await shown([2, 0], 0)).toEqual([first[2], first[0]]);
    const all = [...first, ...(await shown([0, 1, 2], 1))];
    expect(new Set(all).size).toBeGreaterThan(2);
    for (const caption of all) {
      const parts = caption.split(', ');
      expect([parts.slice(0, 2), parts.slice(2).sort()]).toEqual([
        ['photo', 'sks'],
        ['four', 'one', 'three', 'two'],
      ]);
    }
    await rm(other, { recursive: true });
  });

  test('what is transparent lies on the background', async () => {
    await sharp({ create: { width: 4, height: 4, channels: 4, background: { r: 0, g: 0, b: 0, alpha: 0 } } }).toFile(path('clear.png'));
    await metadata('{"file_name": "clear.png", "text": "x"}');
    for (const [background, expected] of [
      [undefined, [1, 1, 1]],
      ['#ff0000', [1, -1, -1]],
    ] as const) {
      const { source } = await open(imageFolder(folder, { batchSize: 1, resolution: 4, ...(background ? { background } : {}) }));
      const { images } = (await source.load([0], { epoch: 0, upcoming: [] })).tensors;
      expect([...images.dataSync().slice(0, 3)]).toEqual(expected);
      images.dispose();
    }
    await rm(path('clear.png'));
  });

  test('captions beside the images', async () => {
    await rm(path('metadata.jsonl'));
    for (const name of ['red', 'green', 'blue', 'stripes']) await writeFile(path(`${name}.txt`), `${name} thing\n`);
    const { source, problems } = await open(imageFolder(folder, { batchSize: 2, resolution: 4, shuffle: false }));
    expect(problems).toEqual([]);
    const batch = await source.load([0], { epoch: 0, upcoming: [] });
    expect(batch.strings?.text).toEqual(['blue thing']);
    batch.tensors.images.dispose();
    await rm(path('red.txt'));
    expect((await open(imageFolder(folder, { batchSize: 2, resolution: 4 }))).problems).toEqual([
      expect.stringMatching(/1 images in .* have no caption: red.png/),
    ]);
  });

  test('every fault is named with file and line', async () => {
    await metadata('{"file_name": "red.png"}', 'no json', '{"text": "x"}', '{"file_name": "gone.png", "text": "x"}');
    const { problems } = await open(imageFolder(folder, { batchSize: 0, resolution: 4 }));
    expect(problems).toEqual([
      'batchSize is 0',
      expect.stringMatching(/line 1 has no text/),
      expect.stringMatching(/line 2 is not JSON/),
      expect.stringMatching(/line 3 has no file_name/),
      expect.stringMatching(/line 4: there is no image gone.png/),
    ]);
    expect((await open(imageFolder(path('absent'), { batchSize: 1, resolution: 4 }))).problems).toEqual([
      expect.stringMatching(/there is no folder/),
    ]);
    await writeFile(path('broken.png'), 'not a picture');
    await metadata('{"file_name": "broken.png", "text": "x"}');
    expect((await open(imageFolder(folder, { batchSize: 1, resolution: 4 }))).problems).toEqual([
      expect.stringMatching(/broken\.png cannot be decoded/),
    ]);
  });

  test('what of a folder is left out is counted and named; files in folders, paths with dots and numbers as captions are taken', async () => {
    const other = await mkdtemp(join(tmpdir(), 'steploom-'));
    await mkdir(join(other, 'more'));
    for (const name of ['a.png', 'b.png', 'more/c.png', '.hidden.png']) await solid(join(other, name), 8, 8, 'red');
    for (const name of ['d.heic', 'e.svg']) await writeFile(join(other, name), '');
    const rows = (...names: [string, unknown][]) =>
      writeFile(join(other, 'metadata.jsonl'), names.map(([file_name, text]) => JSON.stringify({ file_name, text })).join('\n'));
    await rows(['./a.png', 7], ['more/../more/c.png', 'in a folder']);
    const named = await open(imageFolder(other, { batchSize: 1, resolution: 8, shuffle: false }));
    expect(named.problems).toEqual([]);
    expect(named.source.strings?.text).toEqual(['7', 'in a folder']);
    expect(named.warnings).toEqual([
      `of ${other} are left out: 2 images of kinds that are not read (.png, .jpg, .webp, .bmp, .gif, .tiff or .avif are): d.heic, e.svg`,
      `of ${other} are left out: 1 images that metadata.jsonl does not name: b.png`,
    ]);
    // Folders below it that have images which nobody names are not passed over in silence.
    await rows(['a.png', 'a'], ['b.png', 'b']);
    await mkdir(join(other, 'more', 'deep'));
    for (const name of ['more/deep/d.jpg', 'more/.hidden.png']) await solid(join(other, name), 8, 8, 'red');
    await symlink(join(other, 'more', 'deep'), join(other, 'near'));
    expect((await open(imageFolder(other, { batchSize: 1, resolution: 8 }))).warnings.slice(1)).toEqual([
      `of ${other} are left out: 3 images that metadata.jsonl does not name: more/c.png, more/deep/d.jpg, near/d.jpg`,
    ]);
    await rm(join(other, 'near'));
    await rows(['../a.png', 'x'], ['/etc/passwd.png', 'x'], ['d.heic', 'x'], ['none.png', 'x']);
    const { problems } = await open(imageFolder(other, { batchSize: 1, resolution: 8 }));
    for (const [i, fault] of [
      '../a.png is not below the folder',
      '/etc/passwd.png is not below',
      'd.heic is no .png',
      'there is no image none.png',
    ].entries())
      expect(problems[i]).toContain(`line ${i + 1}: ${fault}`);
    await rm(other, { recursive: true });
  });

  test('a pipe that bears an image’s name is named, not waited for; of many faulty lines ten are', async () => {
    const other = await mkdtemp(join(tmpdir(), 'steploom-'));
    await solid(join(other, 'a.png'), 8, 8, 'red');
    await writeFile(join(other, 'a.txt'), 'a');
    execFileSync('mkfifo', [join(other, 'b.png')]);
    expect((await open(imageFolder(other, { batchSize: 1, resolution: 8 }))).problems).toEqual([
      `1 images in ${other} are no files: b.png`,
    ]);
    await writeFile(join(other, 'metadata.jsonl'), '{}\n'.repeat(100_000));
    const { problems } = await open(imageFolder(other, { batchSize: 1, resolution: 8 }));
    expect(problems).toHaveLength(12);
    expect(problems.at(-1)).toMatch(/99990 more lines have faults/);
    await rm(other, { recursive: true });
  });

  test('captions are decoded strictly: UTF-8 with or without its mark, UTF-16 by its mark, anything else is named', async () => {
    const line = '{"file_name": "red.png", "text": "Käfer"}';
    const read = async (bytes: Uint8Array) => {
      await writeFile(path('metadata.jsonl'), bytes);
      const { source, problems } = await open(imageFolder(folder, { batchSize: 1, resolution: 4, shuffle: false }));
      if (problems.length > 0) return problems;
      const batch = await source.load([0], { epoch: 0, upcoming: [] });
      tf.dispose(batch.tensors);
      return batch.strings?.text;
    };
    expect(await read(Buffer.from(line))).toEqual(['Käfer']);
    expect(await read(Buffer.from(`\ufeff${line}`))).toEqual(['Käfer']);
    expect(await read(Buffer.from(`\ufeff${line}`, 'utf16le'))).toEqual(['Käfer']);
    expect(await read(Buffer.from(line, 'latin1'))).toEqual([expect.stringMatching(/metadata\.jsonl is neither UTF-8 nor UTF-16/)]);
    await rm(path('metadata.jsonl'));
    await mkdir(path('texts'));
    await solid(path('texts', 'a.png'), 4, 4, '#ff0000');
    await writeFile(path('texts', 'a.txt'), Buffer.from('Käfer', 'latin1'));
    expect((await open(imageFolder(path('texts'), { batchSize: 1, resolution: 4 }))).problems).toEqual([
      expect.stringMatching(/a\.txt is neither UTF-8 nor UTF-16/),
    ]);
    await rm(path('texts'), { recursive: true });
  });

  test('what cannot be decoded is named before training, or counted and left out', async () => {
    const png = await readFile(path('red.png'));
    await writeFile(path('cut.png'), png.subarray(0, png.length - 20));
    await writeFile(path('text.png'), 'not a picture');
    await solid(path('large.png'), 300, 200, '#123456');
    await solid(path('narrow.png'), 1, 250, '#123456');
    const names = ['red.png', 'text.png', 'blue.webp', 'large.png', 'cut.png', 'narrow.png'];
    await metadata(...names.map((name) => JSON.stringify({ file_name: name, text: name })));
    const options = { batchSize: 2, resolution: 300, maxPixels: 50_000, shuffle: false };
    // A header says nothing of what is missing at the end; that is found when the image is asked for.
    const strict = await open(imageFolder(folder, options));
    expect(strict.problems).toEqual([
      expect.stringMatching(/text\.png cannot be decoded/),
      expect.stringMatching(/large\.png has 300 x 200 pixels, more than 50000/),
      expect.stringMatching(/narrow\.png is too narrow: 1 x 250/),
    ]);
    const lenient = await open(imageFolder(folder, { ...options, skipBadImages: true }));
    expect(lenient.problems).toEqual([]);
    expect(lenient.warnings).toContainEqual(
      expect.stringMatching(/^4 images are left out: .*text\.png.*large\.png.*cut\.png.*narrow\.png/),
    );
    const batch = await lenient.source.load([0, 1], { epoch: 0, upcoming: [] });
    expect(batch.strings?.text).toEqual(['red.png', 'blue.webp']);
    tf.dispose(batch.tensors);
    await metadata('{"file_name": "cut.png", "text": "x"}');
    const { source } = await open(imageFolder(folder, { batchSize: 1, resolution: 4 }));
    await expect(source.load([0], { epoch: 0, upcoming: [] })).rejects.toThrow(/BAD_IMAGE.*cut\.png/);
  });

  test('a broken image among 500 is found in its header, by name', async () => {
    const many = await mkdtemp(join(tmpdir(), 'steploom-many-'));
    try {
      const png = await readFile(path('red.png'));
      const lines: string[] = [];
      for (let i = 0; i < 500; i++) {
        await writeFile(join(many, `${i}.png`), i === 389 ? png.subarray(0, 10) : png);
        lines.push(JSON.stringify({ file_name: `${i}.png`, text: 'x' }));
      }
      await writeFile(join(many, 'metadata.jsonl'), lines.join('\n'));
      const strict = await open(imageFolder(many, { batchSize: 2, resolution: 4 }));
      expect(strict.problems).toEqual([expect.stringMatching(/389\.png cannot be decoded/)]);
      const lenient = await open(imageFolder(many, { batchSize: 2, resolution: 4, skipBadImages: true }));
      expect([lenient.source.items, lenient.warnings]).toEqual([499, [expect.stringMatching(/^1 images are left out: .*389\.png/)]]);
    } finally {
      await rm(many, { recursive: true });
    }
  });
});
