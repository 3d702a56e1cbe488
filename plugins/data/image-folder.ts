import { readdir, readFile, stat } from 'node:fs/promises';
import { basename, extname, join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import {
  DATA,
  fail,
  type Host,
  hashOfText,
  type Problem,
  type Problems,
  RANDOM,
  type Random,
  type Source,
  SteploomError,
} from '../../core/index.js';
import { epochOrder } from './arrays.js';

export interface ImageFolderOptions {
  readonly batchSize: number;
  /** Side of the square that images are cut to. */
  readonly resolution: number;
  /** The centre instead of a random place. */
  readonly centerCrop?: boolean;
  readonly randomFlip?: boolean;
  readonly captionColumn?: string;
  readonly maxSamples?: number;
  readonly shuffle?: boolean;
  /** Images with more pixels are refused by what their header says, before they are decoded; 64 million by default. */
  readonly maxPixels?: number;
  /** Leave out images that cannot be decoded, and say how many. Every image is then decoded once before training. */
  readonly skipBadImages?: boolean;
}

const IMAGES = new Set(['.png', '.jpg', '.jpeg', '.webp']);
/** Broken images that are named one by one. */
const SHOWN = 20;
/** Pixels that an image may have once its short side is the resolution. */
const MOST_RESIZED = 16_000_000;
/** Images looked at together. */
const AT_ONCE = 8;

/** Decoded images kept for later epochs, in bytes. */
const KEPT = 512 * 1024 * 1024;

interface Entry {
  readonly path: string;
  readonly caption: string;
}

/** An image whose short side is the resolution, as bytes of red, green and blue. */
interface Decoded {
  readonly width: number;
  readonly height: number;
  readonly bytes: Uint8Array;
}

/**
 * Images of a folder with their captions: from metadata.jsonl with file_name and text (Hugging Face's imagefolder), else
 * from a .txt of the same name beside each. Batches hold `images` [n, side, side, 3] in [-1, 1]. Where an image is cut and
 * whether it is flipped belongs to epoch and image. Images are decoded ahead, in the background. Needs Node and sharp.
 */
export const imageFolder = (folder: string, options: ImageFolderOptions) => {
  const { batchSize, resolution, centerCrop = false, randomFlip = false, captionColumn = 'text', maxSamples, shuffle = true } = options;
  const { maxPixels = 64_000_000, skipBadImages = false } = options;
  const decoded = new Map<number, Promise<Decoded>>();
  let keptBytes = 0;
  let random: Random;
  let entries: Entry[] = [];

  const decode = (id: number): Promise<Decoded> => {
    const known = decoded.get(id);
    if (known) return known;
    const making = decodeImage(entries[id].path, resolution, maxPixels).then((image) => {
      keptBytes += image.bytes.length;
      // The oldest go first once there are more than can be kept.
      for (const [other] of decoded) {
        if (keptBytes <= KEPT || other === id) break;
        decoded.delete(other);
        keptBytes -= image.bytes.length;
      }
      return image;
    });
    making.catch(() => undefined);
    decoded.set(id, making);
    return making;
  };

  return {
    name: 'image-folder',
    fills: DATA,
    apply({ hooks, resolve, warn, isFirstRank }: Host) {
      random = resolve(RANDOM);
      hooks.validate.tapPromise(async (problems) => {
        if (!(Number.isInteger(batchSize) && batchSize > 0))
          problems.add('OPTION_INVALID', 'image-folder', `batchSize is ${batchSize}`, 'Give a whole number above 0.');
        if (!(Number.isInteger(resolution) && resolution > 0))
          problems.add('OPTION_INVALID', 'image-folder', `resolution is ${resolution}`, 'Give a whole number above 0.');
        entries = await list(folder, captionColumn, problems);
        if (maxSamples !== undefined) entries = entries.slice(0, maxSamples);
        if (problems.list.length > 0) return;
        const faults = await faultsOf(
          entries,
          skipBadImages ? (path) => decodeImage(path, resolution, maxPixels) : (path) => checkHeader(path, resolution, maxPixels),
        );
        if (!skipBadImages) {
          for (const { code, what, fix } of [...faults.values()].slice(0, SHOWN)) problems.add(code, 'image-folder', what, fix);
          if (faults.size > SHOWN)
            problems.add(
              'BAD_IMAGE',
              'image-folder',
              `${faults.size - SHOWN} more images of ${folder} are broken`,
              'skipBadImages (--skip_bad_images) leaves them out.',
            );
          return;
        }
        entries = entries.filter((entry) => !faults.has(entry));
        if (faults.size > 0 && isFirstRank()) {
          const named = [...faults.values()].slice(0, SHOWN).map(({ what }) => what);
          warn(`${faults.size} images are left out: ${named.join('; ')}${faults.size > SHOWN ? '; ...' : ''}`);
        }
        if (entries.length === 0) problems.add('DATA_INVALID', 'image-folder', `no image of ${folder} can be decoded`, 'Give others.');
      });
    },
    async open(): Promise<Source> {
      const size = resolution * resolution * 3;
      return {
        items: entries.length,
        batchSize,
        ids: (epoch) => epochOrder(random, entries.length, epoch, shuffle),
        fingerprint: async () => {
          // Names, sizes and captions: reading every byte of a large folder would take as long as an epoch.
          const sizes = await Promise.all(entries.map(async ({ path }) => (await stat(path)).size));
          return hashOfText(
            `${entries.map(({ path, caption }, i) => `${basename(path)} ${sizes[i]} ${caption}`).join('\n')} ${resolution}`,
          );
        },
        async load(ids, { epoch, upcoming }) {
          const wanted = ids.map(decode);
          for (const id of upcoming) decode(id);
          const data = new Float32Array(ids.length * size);
          for (const [i, image] of (await Promise.all(wanted)).entries()) {
            const place = (name: string, room: number) =>
              centerCrop ? Math.floor(room / 2) : random.item(name, epoch, ids[i]).integer(room + 1);
            const left = place('crop-x', image.width - resolution);
            const top = place('crop-y', image.height - resolution);
            const flip = randomFlip && random.item('flip', epoch, ids[i]).uniform() < 0.5;
            cut(image, resolution, left, top, flip, data.subarray(i * size, (i + 1) * size));
          }
          return {
            items: ids.length,
            ids,
            epoch,
            tensors: { images: tf.tensor4d(data, [ids.length, resolution, resolution, 3]) },
            strings: { text: ids.map((id) => entries[id].caption) },
          };
        },
        dispose: () => decoded.clear(),
      };
    },
  };
};

function cut({ width, bytes }: Decoded, side: number, left: number, top: number, flip: boolean, out: Float32Array): void {
  for (let y = 0; y < side; y++)
    for (let x = 0; x < side; x++) {
      const from = ((top + y) * width + left + (flip ? side - 1 - x : x)) * 3;
      for (let k = 0; k < 3; k++) out[(y * side + x) * 3 + k] = bytes[from + k] / 127.5 - 1;
    }
}

/** Every entry whose image is broken, with what is wrong. */
async function faultsOf(entries: readonly Entry[], look: (path: string) => Promise<unknown>): Promise<Map<Entry, Problem>> {
  const faults = new Map<Entry, Problem>();
  for (let at = 0; at < entries.length; at += AT_ONCE)
    await Promise.all(
      entries.slice(at, at + AT_ONCE).map(async (entry) => {
        try {
          await look(entry.path);
        } catch (error) {
          if (!(error instanceof SteploomError)) throw error;
          faults.set(entry, error.problems[0]);
        }
      }),
    );
  return new Map(entries.flatMap((entry) => (faults.has(entry) ? [[entry, faults.get(entry) as Problem]] : [])));
}

/** Looks at an image's header alone: whether it is one, and not too large. */
async function checkHeader(path: string, resolution: number, maxPixels: number): Promise<void> {
  const bad = (what: string, fix: string, cause?: unknown): never => fail('BAD_IMAGE', 'image-folder', `${path} ${what}`, fix, cause);
  const { default: sharp } = await import('sharp');
  let size: { width: number; height: number };
  try {
    // The limit is ours to say: sharp's own message does not tell how large the image is.
    size = await sharp(path, { limitInputPixels: false }).metadata();
  } catch (error) {
    return bad(`cannot be decoded: ${(error as Error).message}`, 'Replace or remove the file.', error);
  }
  const { width, height } = size;
  if (!(width > 0 && height > 0)) bad('has no pixels', 'Replace or remove the file.');
  if (width * height > maxPixels)
    bad(`has ${width} x ${height} pixels, more than ${maxPixels}`, 'Make it smaller, or raise maxPixels (--max_pixels).');
  const scale = resolution / Math.min(width, height);
  if (width * scale * height * scale > MOST_RESIZED)
    bad(`is too narrow: ${width} x ${height} pixels, whose short side would become ${resolution}`, 'Cut or remove it.');
}

async function decodeImage(path: string, resolution: number, maxPixels: number): Promise<Decoded> {
  await checkHeader(path, resolution, maxPixels);
  const { default: sharp } = await import('sharp');
  try {
    // Turned as its camera says, on white where it is transparent, the short side brought to the resolution.
    const { data, info } = await sharp(path, { limitInputPixels: maxPixels })
      .rotate()
      .flatten({ background: 'white' })
      .toColourspace('srgb')
      .resize({ width: resolution, height: resolution, fit: 'outside' })
      .removeAlpha()
      .raw()
      .toBuffer({ resolveWithObject: true });
    if (info.channels !== 3) throw new Error(`it has ${info.channels} channels`);
    return { width: info.width, height: info.height, bytes: new Uint8Array(data) };
  } catch (error) {
    return fail(
      'BAD_IMAGE',
      'image-folder',
      `${path} cannot be decoded: ${(error as Error).message}`,
      'Replace or remove the file.',
      error,
    );
  }
}

/** The images with captions; every fault is noted with file and line. */
async function list(folder: string, column: string, problems: Problems): Promise<Entry[]> {
  const bad = (what: string, fix: string) => problems.add('DATA_INVALID', 'image-folder', what, fix);
  let names: string[];
  try {
    names = (await readdir(folder)).sort();
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === 'ENOENT';
    bad(missing ? `there is no folder ${folder}` : `${folder}: ${(error as Error).message}`, 'Give a folder of images.');
    return [];
  }
  const images = names.filter((name) => IMAGES.has(extname(name).toLowerCase()));
  if (names.includes('metadata.jsonl')) return fromMetadata(folder, column, new Set(images), bad);
  if (images.length === 0) bad(`${folder} holds no .png, .jpg or .webp`, 'Give a folder of images.');
  const entries: Entry[] = [];
  const without: string[] = [];
  for (const name of images) {
    const text = `${name.slice(0, -extname(name).length)}.txt`;
    if (!names.includes(text)) without.push(name);
    else entries.push({ path: join(folder, name), caption: (await readFile(join(folder, text), 'utf8')).trim() });
  }
  if (without.length > 0)
    bad(
      `${without.length} images in ${folder} have no caption: ${without.slice(0, 3).join(', ')}${without.length > 3 ? ', ...' : ''}`,
      'Write metadata.jsonl with file_name and text, or a .txt beside each image.',
    );
  return entries;
}

async function fromMetadata(
  folder: string,
  column: string,
  images: ReadonlySet<string>,
  bad: (what: string, fix: string) => void,
): Promise<Entry[]> {
  const file = join(folder, 'metadata.jsonl');
  const entries: Entry[] = [];
  const lines = (await readFile(file, 'utf8')).split('\n');
  for (const [i, line] of lines.entries()) {
    if (line.trim() === '') continue;
    const where = `${file}, line ${i + 1}`;
    let row: Record<string, unknown>;
    try {
      row = JSON.parse(line);
    } catch (error) {
      bad(`${where} is not JSON: ${(error as Error).message}`, 'Write one JSON object a line.');
      continue;
    }
    const [name, caption] = [row?.file_name, row?.[column]];
    if (typeof name !== 'string') bad(`${where} has no file_name`, 'Name the image.');
    else if (typeof caption !== 'string')
      bad(`${where} has no ${column}`, 'Give the caption, or name its field with captionColumn (--caption_column).');
    else if (!images.has(name)) bad(`${where}: there is no image ${name}`, 'Correct file_name; images stand beside metadata.jsonl.');
    else entries.push({ path: join(folder, name), caption });
  }
  if (entries.length === 0) bad(`${file} names no image`, 'Write one line an image.');
  return entries;
}
