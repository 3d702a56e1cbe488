import { existsSync } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { type Batch, DATA, type Host, hashOfText, RANDOM, type Random } from '../../core/index.js';
import { sha256 } from '../persist/formats/sha256.js';
import { type CaptionOptions, prefixed, shuffled } from './image-folder/captions.js';
import { checkHeader, decodeImage } from './image-folder/decode.js';
import { DecodedImages } from './image-folder/decoded-images.js';
import { listEntries } from './image-folder/entries.js';
import type { Entry } from './image-folder/entry.js';
import { examplesOf } from './image-folder/examples.js';
import { faultsOf } from './image-folder/faults.js';
import type { Interpolation } from './image-folder/interpolations.js';
import { type PictureSource, weightsOfExamples } from './image-folder/picture-source.js';
import { type Prior, priorEntries } from './image-folder/prior.js';
import { shownImages } from './image-folder/shown.js';
import { epochOrder } from './order/epoch-order.js';

export interface ImageFolderOptions extends CaptionOptions {
  readonly batchSize: number;
  /** Side of the square that images are cut to. */
  readonly resolution: number;
  /** The centre instead of a random place. */
  readonly centerCrop?: boolean;
  readonly randomFlip?: boolean;
  /** The field of the metadata that holds captions, `text` by default; null where none are wanted, and every image of the folder is. */
  readonly captionColumn?: string | null;
  /** What all images show; captions are not looked for then. */
  readonly caption?: string;
  /**
   * Pictures of the class for prior preservation (Ruiz et al. 2022), and the weight of their loss beside that of the others. Each example is then a pair, the loss
   * the sum of both, and batches hold twice as many images. What another plugin draws of them before the first step need not be there yet.
   */
  readonly prior?: Prior & { readonly weight: number };
  /** Use only so many, drawn by the seed; all by default. */
  readonly maxSamples?: number;
  readonly shuffle?: boolean;
  /** Images with more pixels are refused by what their header says, before they are decoded; 64 million by default. */
  readonly maxPixels?: number;
  /** How images are brought to the resolution; lanczos by default. */
  readonly interpolation?: Interpolation;
  /** Folders named 10_sks dog say how often an epoch shows their images, and what they show where nothing else does; off by default. */
  readonly folderRepeats?: boolean;
  /** The colour behind what is transparent: white by default, black, grey, or #rrggbb. */
  readonly background?: string;
  /** Leave out images that cannot be decoded, and say how many. Every image is then decoded once before training. */
  readonly skipBadImages?: boolean;
}

/** Broken images that are named one by one. */
const SHOWN = 10;

/**
 * Images of a folder and of those below it, with their captions: from metadata.jsonl, .csv or .parquet with file_name and text (Hugging Face's
 * imagefolder), else from a .txt of the same name beside each. Of what moves the first frame is taken. Batches hold `images` [n, side, side, 3] in [-1, 1], and as `timeIds` what was cut out of what (see timeIds); as `picture` their paths. Where an image is cut and
 * whether it is flipped belongs to epoch and image. Images are prefetched: decoded in the background before they are asked for. Needs Node and sharp.
 */
export const imageFolder = (folder: string, options: ImageFolderOptions) => {
  const { batchSize, resolution, centerCrop = false, randomFlip = false, captionColumn = 'text', maxSamples, shuffle = true } = options;
  const { maxPixels = 64_000_000, skipBadImages = false, interpolation = 'lanczos', background = 'white' } = options;
  const { shuffleCaption = false, keepTokens = 0, folderRepeats = false, caption, prior } = options;
  const decoding = { resolution, maxPixels, interpolation, background };
  const decoded = new DecodedImages((image) => decodeImage(entries[image].path, decoding));
  let random: Random;
  let entries: Entry[] = [];

  return {
    name: 'image-folder',
    fills: DATA,
    apply({ hooks, resolve, warn, isFirstRank }: Host) {
      random = resolve(RANDOM);
      hooks.validate.tapPromise(async (problems) => {
        const check = problems.options('image-folder');
        check.whole('batchSize', batchSize, 1);
        check.whole('resolution', resolution, 1);
        check.whole('keepTokens', keepTokens, 0);
        if (prior) check.notNegative('prior.weight', prior.weight);
        const listing = await listEntries(folder, caption === undefined ? captionColumn : null, problems, folderRepeats);
        entries = caption === undefined ? listing.entries : listing.entries.map((entry) => ({ ...entry, caption }));
        if (isFirstRank()) for (const what of listing.leftOut) warn(`of ${folder} are left out: ${what}`);
        if (maxSamples !== undefined && maxSamples < entries.length) {
          const drawn = random.named('samples').permutation(entries.length).slice(0, maxSamples).sort();
          const all = entries;
          entries = Array.from(drawn, (id) => all[id]);
        }
        if (prior) entries = [...entries, ...(await priorEntries(prior, problems))];
        if (problems.list.length > 0) return;
        const faults = await faultsOf(
          entries.filter(({ path, prior }) => !prior?.isDrawn || existsSync(path)),
          skipBadImages ? (path) => decodeImage(path, decoding) : (path) => checkHeader(path, decoding),
        );
        if (!skipBadImages) {
          for (const { code, what, fix } of [...faults.values()].slice(0, SHOWN)) problems.add(code, 'image-folder', what, fix);
          if (faults.size > SHOWN)
            problems.add(
              'BAD_IMAGE',
              'image-folder',
              `${faults.size - SHOWN} more images of ${folder} are broken`,
              'skipBadImages leaves them out.',
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
    // What the source's fingerprint does not tell.
    settings: () => ({
      centerCrop,
      randomFlip,
      shuffle,
      interpolation,
      background,
      ...(shuffleCaption ? { keepTokens } : {}),
      ...(prior ? { priorWeight: prior.weight } : {}),
    }),
    async open(): Promise<PictureSource> {
      const { entries: images, pairs } = examplesOf(entries);
      const isPaired = images.length > pairs;
      const pathOf = (id: number) => entries[images[id]].path;
      const captions = images.map((image) => prefixed(entries[image].caption, options));
      const captionAt = (id: number, epoch: number): string =>
        shuffleCaption
          ? prefixed(shuffled(entries[images[id]].caption, keepTokens, random.item('caption', epoch, id)), options)
          : captions[id];
      const isFlipped = (id: number, epoch: number): boolean => randomFlip && random.item('flip', epoch, id).uniform() < 0.5;
      /** Examples with their captions, and what was cut out of what; `place` says where along a side with so much room. */
      const batchOf = async (
        ids: readonly number[],
        epoch: number,
        place: (name: string, room: number, id: number) => number,
        flipped: (id: number) => boolean,
      ): Promise<Batch> => {
        const { images: squares, timeIds } = shownImages(
          await Promise.all(ids.map((id) => decoded.get(images[id]))),
          resolution,
          ({ width, height }, i) => ({
            left: place('crop-x', width - resolution, ids[i]),
            top: place('crop-y', height - resolution, ids[i]),
            flip: flipped(ids[i]),
          }),
        );
        return {
          items: ids.length,
          ids,
          epoch,
          tensors: { images: squares },
          strings: { text: ids.map((id) => captionAt(id, epoch)), picture: ids.map(pathOf) },
          numbers: { timeIds, ...weightsOfExamples(weighing, ids) },
        };
      };
      // The mean over the images of a batch is then the sum of the two kinds' means.
      const weighing = prior && isPaired ? { weightOf: (id: number) => (id < pairs ? 2 : 2 * prior.weight) } : {};
      const centre = (_: string, room: number) => Math.floor(room / 2);
      return {
        items: images.length,
        batchSize: isPaired ? 2 * batchSize : batchSize,
        ...weighing,
        shapes: { images: [resolution, resolution, 3] },
        strings: { text: captions },
        captionsVary: shuffleCaption,
        captionAt,
        ids(epoch) {
          const order = epochOrder(random, pairs, epoch, shuffle);
          return isPaired ? Array.from(order).flatMap((id) => [id, pairs + id]) : order;
        },
        fingerprint: async () => {
          // Names, sizes and captions: reading every byte of a large folder would take as long as an epoch.
          const sizes = await Promise.all(entries.map(async ({ path, prior }) => (prior?.isDrawn ? 'drawn' : (await stat(path)).size)));
          return hashOfText(
            `${images.map((image, id) => `${basename(pathOf(id))} ${sizes[image]} ${captions[id]}`).join('\n')} ${resolution}`,
          );
        },
        async load(ids, { epoch, upcoming }) {
          const batch = batchOf(
            ids,
            epoch,
            (name, room, id) => (centerCrop ? centre(name, room) : random.item(name, epoch, id).integer(room + 1)),
            (id) => isFlipped(id, epoch),
          );
          for (const id of upcoming) void decoded.get(images[id]);
          return batch;
        },
        nameOf: pathOf,
        shown: (id, epoch) => (isFlipped(id, epoch) ? 1 : 0),
        async views(id) {
          const path = pathOf(id);
          const [height, width] = await checkHeader(path, decoding);
          // A square one leaves no place to choose.
          if (!centerCrop && height !== width) return null;
          const content = await sha256(await readFile(path));
          return (randomFlip ? [false, true] : [false]).map((flip) => ({
            key: `${content} ${resolution} ${interpolation} ${background} ${flip ? 'mirrored' : ''}`,
            load: () => batchOf([id], 0, centre, () => flip),
          }));
        },
        dispose: () => decoded.clear(),
      };
    },
  };
};
