import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crc32, inflateSync } from 'node:zlib';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Problems, SteploomError, seededRandom } from '../../core/index.js';
import * as tf from '../../core/tf.js';
import { imageFolder } from '../../plugins/data/image-folder.js';
import { readSafetensors, writeSafetensors } from '../../plugins/persist/formats/safetensors.js';
import { readConfig } from '../../presets/cli/config.js';
import { checkOptions } from '../../presets/cli/options.js';
import { emojiOptions } from '../../presets/emoji.js';

// Hundreds of seeded mutations of each kind of file: each is read as an independent reader reads it, or refused by name.
// STEPLOOM_TEST_MUTATIONS=10000 has more.
const TIMES = Number(process.env.STEPLOOM_TEST_MUTATIONS ?? 300);
const MOST_MEMORY = 64 * 2 ** 20;

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'steploom-bad-'));
});
afterAll(() => rm(folder, { recursive: true }));

type Draw = (below: number) => number;

/** Cuts, doubles, swaps, overwrites or drops a piece; sometimes several times. */
function mutated(bytes: Uint8Array, draw: Draw): Uint8Array {
  let out = Uint8Array.from(bytes);
  for (let n = 1 + draw(3); n > 0; n--) {
    const at = draw(out.length + 1);
    const length = 1 + draw(16);
    const piece = out.slice(at, at + length);
    const join_ = (...parts: Uint8Array[]) => Uint8Array.from(parts.flatMap((part) => [...part]));
    switch (draw(7)) {
      case 0:
        out = out.slice(0, at);
        break;
      case 1:
        out = join_(out.slice(0, at), piece, out.slice(at));
        break;
      case 2:
        out = join_(out.slice(0, at), out.slice(at + length));
        break;
      case 3:
        for (let i = at; i < Math.min(at + length, out.length); i++) out[i] = draw(256);
        break;
      case 4:
        if (at < out.length) out[at] ^= 1 << draw(8);
        break;
      case 5:
        // Digits are where counts are.
        for (let i = 0; i < out.length; i++)
          if (out[i] >= 48 && out[i] <= 57 && draw(12) === 0) {
            out[i] = 48 + draw(10);
            break;
          }
        break;
      default:
        for (let i = at; i < Math.min(at + length, out.length); i++) out[i] = [0, 255, 0x7b, 0x22, 0x2c, 0x5d][draw(6)];
    }
  }
  return out;
}

const drawing = (name: string): Draw => {
  const random = seededRandom(20).named(name);
  return (below) => random.integer(below);
};

/** Runs `read` on every mutation, and holds what comes of it against the rules. */
async function tried(
  name: string,
  mutations: (draw: Draw) => Uint8Array,
  read: (bytes: Uint8Array) => Promise<void>,
  names: RegExp,
): Promise<{ loaded: number; refused: number }> {
  const draw = drawing(name);
  let [loaded, refused] = [0, 0];
  for (let i = 0; i < TIMES; i++) {
    const bytes = mutations(draw);
    const started = performance.now();
    try {
      await read(bytes);
      loaded++;
    } catch (error) {
      // What is no error of ours is a crash; the message must say which file.
      if (!(error instanceof SteploomError)) throw new Error(`${name}, mutation ${i}: ${(error as Error).stack}`);
      expect(error.message).toMatch(names);
      refused++;
    }
    expect(performance.now() - started).toBeLessThan(10_000);
  }
  return { loaded, refused };
}

const memory = (): number => {
  const { heapUsed, external, arrayBuffers } = process.memoryUsage();
  return heapUsed + external + arrayBuffers;
};

test('configuration files', async () => {
  const file = join(folder, 'steploom.config.json');
  const whole = new TextEncoder().encode(
    JSON.stringify(
      { maxTrainSteps: 10, learningRate: 0.001, optimizer: 'lion', quiet: true, decayExclude: ['bias', '*norm*'], seed: 3 },
      null,
      1,
    ),
  );
  const { loaded, refused } = await tried(
    'config',
    (draw) => mutated(whole, draw),
    async (bytes) => {
      await writeFile(file, bytes);
      const { options, plugins } = await readConfig(file);
      // Node's own parser, and no other rule.
      const { plugins: given = [], ...expected } = JSON.parse(new TextDecoder().decode(bytes));
      expect(Object.values(options)).toEqual(Object.values(expected));
      expect(plugins).toEqual(given);
      checkOptions(emojiOptions, options);
    },
    /steploom\.config\.json|--|there is no option/,
  );
  expect(loaded / TIMES).toBeGreaterThan(0.05);
  expect(refused / TIMES).toBeGreaterThan(0.3);
  const yaml = join(folder, 'steploom.config.yaml');
  const lines = new TextEncoder().encode('maxTrainSteps: 10\nlearningRate: 0.001\ndecayExclude: [bias, "*norm*"]\nquiet: true\n');
  await tried(
    'yaml',
    (draw) => mutated(lines, draw),
    async (bytes) => {
      await writeFile(yaml, bytes);
      checkOptions(emojiOptions, (await readConfig(yaml)).options);
    },
    /steploom\.config\.yaml|--|there is no option/,
  );
});

/** What a safetensors file holds, by its specification alone; null where that is broken. */
function plainly(bytes: Uint8Array): Map<string, { shape: number[]; hex: string }> | null {
  const buffer = Buffer.from(bytes);
  if (buffer.length < 8) return null;
  const length = buffer.readBigUInt64LE(0);
  if (length > BigInt(buffer.length - 8)) return null;
  const data = buffer.subarray(8 + Number(length));
  const out = new Map<string, { shape: number[]; hex: string }>();
  for (const [name, entry] of Object.entries(JSON.parse(buffer.toString('utf8', 8, 8 + Number(length))) as Record<string, never>)) {
    if (name === '__metadata__') continue;
    const { shape, data_offsets } = entry as { shape: number[]; data_offsets: [number, number] };
    out.set(name, { shape, hex: data.subarray(...data_offsets).toString('hex') });
  }
  return out;
}

test('safetensors files', async () => {
  const whole = writeSafetensors({
    'a.weight': { dtype: 'float32', shape: [3, 5], data: Float32Array.from({ length: 15 }, (_, i) => i / 7) },
    'b.codes': { dtype: 'uint8', shape: [9], data: Uint8Array.from({ length: 9 }, (_, i) => i) },
    'c.ids': { dtype: 'int32', shape: [2, 1], data: Int32Array.of(-4, 5) },
  });
  const headerEnd = 8 + Number(Buffer.from(whole).readBigUInt64LE(0));
  const before = memory();
  let most = 0;
  const { loaded, refused } = await tried(
    'safetensors',
    (draw) => {
      const kind = draw(3);
      if (kind === 0) return mutated(whole, draw);
      const out = Uint8Array.from(whole);
      // Lengths that promise too much, and headers that stay JSON.
      if (kind === 1) for (let i = 0; i < 1 + draw(3); i++) out[draw(8)] = draw(256);
      else {
        const text = Buffer.from(whole.subarray(8, headerEnd))
          .toString()
          .replace(/\d+/g, (n) =>
            draw(6) === 0 ? ['-1', '9007199254740993', '1e30', '4294967296', '0', '0.5'][draw(6)].padEnd(n.length) : n,
          );
        const json = Buffer.from(text);
        const file = Buffer.alloc(8 + json.length + whole.length - headerEnd);
        file.writeBigUInt64LE(BigInt(json.length));
        json.copy(file, 8);
        file.set(whole.subarray(headerEnd), 8 + json.length);
        return file;
      }
      return out;
    },
    async (bytes) => {
      try {
        const { tensors } = readSafetensors(bytes, 'weights.safetensors');
        const expected = plainly(bytes);
        expect(expected).not.toBeNull();
        expect([...tensors.keys()].sort()).toEqual([...(expected as Map<string, unknown>).keys()].sort());
        for (const [name, { shape, data, dtype }] of tensors) {
          expect(shape).toEqual(expected?.get(name)?.shape);
          if (dtype === 'uint8' || data.byteLength * 2 === expected?.get(name)?.hex.length)
            expect(Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('hex')).toBe(expected?.get(name)?.hex);
        }
      } finally {
        most = Math.max(most, memory() - before);
      }
    },
    /weights\.safetensors/,
  );
  expect(loaded / TIMES).toBeGreaterThan(0.02);
  expect(refused / TIMES).toBeGreaterThan(0.5);
  expect(most).toBeLessThan(MOST_MEMORY + 2 * whole.length);
});

/** Opens a folder of images as the core does. */
async function opened(options: Partial<Parameters<typeof imageFolder>[1]> = {}, where = folder) {
  const plugin = imageFolder(where, { batchSize: 1, resolution: 8, shuffle: false, centerCrop: true, ...options });
  const problems = new Problems();
  let validate: (problems: Problems) => Promise<void> = async () => undefined;
  plugin.apply({
    hooks: { validate: { tapPromise: (fn: typeof validate) => void (validate = fn) } },
    resolve: () => seededRandom(0),
    warn: () => undefined,
    isFirstRank: () => true,
  } as never);
  await validate(problems);
  if (problems.list.length > 0) throw new SteploomError(problems.list);
  return plugin.open();
}

test('metadata.jsonl', async () => {
  const names = ['one.png', 'two.png', 'three.png'];
  for (const name of names) await sharp({ create: { width: 8, height: 8, channels: 3, background: '#804020' } }).toFile(join(folder, name));
  const whole = new TextEncoder().encode(names.map((name, i) => JSON.stringify({ file_name: name, text: `caption ${i} é` })).join('\n'));
  const { loaded, refused } = await tried(
    'metadata',
    (draw) => mutated(whole, draw),
    async (bytes) => {
      await writeFile(join(folder, 'metadata.jsonl'), bytes);
      const source = await opened();
      const rows = new TextDecoder()
        .decode(bytes)
        .split('\n')
        .filter((line) => line.trim() !== '')
        .map((line) => JSON.parse(line) as { file_name: string; text: string });
      expect(source.items).toBe(rows.length);
      for (const [i, { text }] of rows.entries()) {
        const batch = await source.load([i], { epoch: 0, upcoming: [] });
        tf.dispose(batch.tensors);
        expect(batch.strings?.text).toEqual([text]);
      }
    },
    /metadata\.jsonl|no image of/,
  );
  expect(loaded / TIMES).toBeGreaterThan(0.05);
  expect(refused / TIMES).toBeGreaterThan(0.3);
  await rm(join(folder, 'metadata.jsonl'));
});

/** An 8-bit PNG of red, green and blue without interlacing, by its specification: [width, height, pixels]; null for any other. */
function decodedPng(bytes: Uint8Array): [number, number, Uint8Array] | null {
  const buffer = Buffer.from(bytes);
  const parts: Buffer[] = [];
  let header: Buffer | null = null;
  for (let at = 8; at + 12 <= buffer.length; ) {
    const length = buffer.readUInt32BE(at);
    const type = buffer.toString('latin1', at + 4, at + 8);
    const data = buffer.subarray(at + 8, at + 8 + length);
    if (at + 12 + length > buffer.length || crc32(buffer.subarray(at + 4, at + 8 + length)) !== buffer.readUInt32BE(at + 8 + length))
      return null;
    if (type === 'IHDR') header = data;
    if (type === 'IDAT') parts.push(data);
    if (type === 'IEND') break;
    at += 12 + length;
  }
  if (header?.length !== 13 || header[8] !== 8 || header[9] !== 2 || header[12] !== 0) return null;
  const [width, height] = [header.readUInt32BE(0), header.readUInt32BE(4)];
  const raw = inflateSync(Buffer.concat(parts));
  const row = width * 3;
  const out = new Uint8Array(row * height);
  for (let y = 0; y < height; y++) {
    const filter = raw[y * (row + 1)];
    for (let x = 0; x < row; x++) {
      const [left, up, corner] = [
        x >= 3 ? out[y * row + x - 3] : 0,
        y > 0 ? out[(y - 1) * row + x] : 0,
        x >= 3 && y > 0 ? out[(y - 1) * row + x - 3] : 0,
      ];
      const p = left + up - corner;
      const [a, b, c] = [Math.abs(p - left), Math.abs(p - up), Math.abs(p - corner)];
      const paeth = a <= b && a <= c ? left : b <= c ? up : corner;
      out[y * row + x] = raw[y * (row + 1) + 1 + x] + [0, left, up, (left + up) >> 1, paeth][filter];
    }
  }
  return [width, height, out];
}

test('images: cut, flipped, of other types and sizes', async () => {
  const where = await mkdtemp(join(tmpdir(), 'steploom-images-'));
  const noise = (width: number, height: number, channels: 1 | 3 | 4) => {
    const data = Uint8Array.from({ length: width * height * channels }, (_, i) => (i * 7919) % 251);
    return sharp(data, { raw: { width, height, channels } });
  };
  const kinds: Uint8Array[] = [
    await noise(8, 8, 3).png().toBuffer(),
    await noise(8, 8, 3).png().toBuffer(),
    await noise(9, 12, 3).jpeg().toBuffer(),
    await noise(9, 12, 3).toColourspace('cmyk').jpeg().toBuffer(),
    await noise(10, 8, 4).webp().toBuffer(),
    await noise(8, 8, 3).toColourspace('rgb16').png().toBuffer(),
    await noise(1, 1, 3).png().toBuffer(),
    await noise(12, 8, 1).png().toBuffer(),
    await noise(8, 16, 3).webp({ lossless: true }).toBuffer(),
    await sharp(await noise(8, 32, 3).png().toBuffer(), { pageHeight: 8 } as never)
      .gif()
      .toBuffer(),
  ];
  const file = join(where, 'image.png');
  await writeFile(join(where, 'image.txt'), 'a caption');
  const before = memory();
  let most = 0;
  let compared = 0;
  try {
    const { loaded, refused } = await tried(
      'images',
      (draw) => {
        const kind = kinds[draw(kinds.length)];
        return draw(6) === 0 ? kind : mutated(kind, draw);
      },
      async (bytes) => {
        await writeFile(file, bytes);
        const source = await opened({}, where);
        const batch = await source.load([0], { epoch: 0, upcoming: [] });
        const pixels = await batch.tensors.images.data();
        most = Math.max(most, memory() - before);
        tf.dispose(batch.tensors);
        expect(batch.tensors.images.shape).toEqual([1, 8, 8, 3]);
        expect(pixels.every((x) => x >= -1 && x <= 1)).toBe(true);
        const plain = bytes[0] === 0x89 ? decodedPng(bytes) : null;
        if (plain?.[0] !== 8 || plain[1] !== 8) return;
        compared++;
        expect(Array.from(pixels, (x) => Math.round((x + 1) * 127.5))).toEqual([...plain[2]]);
      },
      /image\.png/,
    );
    expect(loaded / TIMES).toBeGreaterThan(0.1);
    expect(refused / TIMES).toBeGreaterThan(0.3);
    expect(compared / TIMES).toBeGreaterThan(0.01);
    expect(most).toBeLessThan(MOST_MEMORY);
    // 20,000 pixels along a side: seen in the header, and refused before anything is decoded.
    await sharp({ create: { width: 20_000, height: 20_000, channels: 3, background: '#fff' }, limitInputPixels: false })
      .png({ compressionLevel: 1 })
      .toFile(file);
    const resident = process.memoryUsage.rss();
    await expect(opened({}, where)).rejects.toThrow(/BAD_IMAGE.*image\.png has 20000 x 20000 pixels, more than 64000000/);
    expect(process.memoryUsage.rss() - resident).toBeLessThan(MOST_MEMORY);
    expect((await readFile(file)).length).toBeGreaterThan(0);
  } finally {
    await rm(where, { recursive: true });
  }
});
