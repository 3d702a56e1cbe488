import { existsSync } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { type Batch, DATA, fail, type Host, hashOfText, RANDOM, type Random } from '../../core/index.js';
import { isTextToImage } from '../models/stable-diffusion/text-to-image.js';
import type { Size } from '../models/unet/time-ids.js';
import { sha256 } from '../persist/formats/sha256.js';
import { type BucketOptions, bucketFacts, bucketsOf, checkBuckets, checkStep, sizeChooser, squareOf } from './image-folder/buckets.js';
import { type CaptionOptions, prefixed, shuffled } from './image-folder/captions.js';
import { decodeImage, type Header, readHeader, refuseNarrow } from './image-folder/decode.js';
import { DecodedImages } from './image-folder/decoded-images.js';
import { countDoubles } from './image-folder/doubles.js';
import { type ListingOptions, listEntries } from './image-folder/entries.js';
import type { Entry } from './image-folder/entry.js';
import { examplesOf } from './image-folder/examples.js';
import { faultsOf } from './image-folder/faults.js';
import type { Interpolation } from './image-folder/interpolations.js';
import { type PictureSource, weightsOfExamples } from './image-folder/picture-source.js';
import { type Prior, priorEntries } from './image-folder/prior.js';
import { shownImages } from './image-folder/shown.js';
import { summaryOf } from './image-folder/summary.js';
import { batchesOfGroups } from './order/batches-of-groups.js';
import { epochOrder } from './order/epoch-order.js';

export interface ImageFolderOptions extends CaptionOptions, Pick<ListingOptions, 'without'> {
  readonly batchSize: number;
  /** Side of the square that images are cut to. */
  readonly resolution: number;
  /**
   * Cut each image to the one of several sizes of as many pixels that crops it least, rather than to the square; a batch then holds images of one size.
   * Those of a class are then batched by their sizes as well, no longer in pairs.
   */
  readonly buckets?: BucketOptions;
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
  /** Batches hold as `mask` how opaque images are, as latents are laid out: [n, h, w, 1], from 0 to 1. One that is transparent everywhere is refused. */
  readonly alphaMask?: boolean;
  /** Leave out images that cannot be decoded, and say how many. Every image is then decoded once before training. */
  readonly skipBadImages?: boolean;
}

/** Broken images that are named one by one. */
const SHOWN = 10;

/**
 * Images of a folder and of those below it, with their captions: from metadata.jsonl, .csv or .parquet with file_name and text (Hugging Face's
 * imagefolder), else from a .txt of the same name beside each. Of what moves the first frame is taken. Batches hold `images` [n, h, w, 3] in [-1, 1], and as `timeIds` what was cut out of what (see timeIds); as `picture` their paths. Where an image is cut and
 * whether it is flipped belongs to epoch and image. Images are prefetched: decoded in the background before they are asked for. Needs Node and sharp.
 */
export const imageFolder = (folder: string, options: ImageFolderOptions) => {
  const { resolution, centerCrop = false, randomFlip = false, captionColumn = 'text', maxSamples, shuffle = true } = options;
  const { maxPixels = 64_000_000, skipBadImages = false, interpolation = 'lanczos', background = 'white', alphaMask = false } = options;
  const { shuffleCaption = false, keepTokens = 0, folderRepeats = false, without, caption, prior } = options;
  const buckets = options.buckets && bucketsOf(resolution, options.buckets);
  const decoding = { maxPixels, interpolation, background, keepAlpha: alphaMask };
  const decoded = new DecodedImages((image) => decodeImage(entries[image].path, sizeFor(entries[image]), decoding));
  /** What headers said before training, by path. */
  const headers = new Map<string, Header>();
  let choose: ReturnType<typeof sizeChooser> | null = null;
  /** Pixels along one side of a latent, once the model is known. */
  let factor = 1;
  let random: Random;
  let entries: Entry[] = [];

  /** What an entry's image is cut to. Those that the model draws are made for the square, whether they are there yet or not. */
  function sizeFor({ path, prior }: Entry): Size {
    if (!buckets || !choose) return [resolution, resolution];
    const header = prior?.isDrawn ? undefined : headers.get(path);
    if (!header) return squareOf(resolution, buckets);
    const [height, width] = header.size;
    return (
      choose(header.size) ??
      fail(
        'BAD_IMAGE',
        'image-folder',
        `${path} has ${width} x ${height} pixels: no size of steps of ${buckets.step} is as small (bucketStep)`,
        'Remove it, or have it enlarged: bucketUpscale.',
      )
    );
  }

  async function look(entry: Entry): Promise<void> {
    const { path } = entry;
    const header = await readHeader(path, maxPixels);
    headers.set(path, header);
    const size = sizeFor(entry);
    refuseNarrow(path, header, size);
    const isMasked = alphaMask && header.hasAlpha;
    if (!skipBadImages && !isMasked) return;
    const { alpha } = await decodeImage(path, size, decoding);
    if (alpha?.every((value) => value === 0))
      fail('BAD_IMAGE', 'image-folder', `${path} is transparent everywhere: with alphaMask nothing of it is learnt`, 'Remove it.');
  }

  return {
    name: 'image-folder',
    fills: DATA,
    apply({ hooks, resolve, warn, isFirstRank }: Host) {
      random = resolve(RANDOM);
      hooks.validate.tapPromise(async (problems) => {
        const check = problems.options('image-folder');
        check.whole('batchSize', options.batchSize, 1);
        const isResolution = check.whole('resolution', resolution, 1);
        if (isResolution && buckets && checkBuckets(check, resolution, buckets)) choose = sizeChooser(resolution, buckets);
        check.whole('keepTokens', keepTokens, 0);
        if (prior) check.notNegative('prior.weight', prior.weight);
        const listing = await listEntries(folder, caption === undefined ? captionColumn : null, problems, { folderRepeats, without });
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
          look,
        );
        if (alphaMask && isFirstRank() && ![...headers.values()].some(({ hasAlpha }) => hasAlpha))
          warn(`no image of ${folder} has an alpha channel: alphaMask changes nothing`);
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
      if (!buckets && !alphaMask) return;
      hooks.prepareModel.tap((model, problems) => {
        const unfit = (what: string, fix: string) => problems.add('MODEL_UNFIT', 'image-folder', what, fix);
        if (isTextToImage(model)) {
          factor = model.codec.factor;
          if (buckets) checkStep(problems.options('image-folder'), buckets, factor * model.leastSize);
        } else if (buckets) unfit('the model takes images of one size', 'Leave the buckets out.');
        else unfit('alphaMask weighs the loss of latents, and the model is no text-to-image model', 'Leave it out.');
        return model;
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
      ...(buckets ? { buckets: { ...buckets } } : {}),
      ...(alphaMask ? { alphaMask } : {}),
    }),
    async open(): Promise<PictureSource> {
      const { entries: images, pairs } = examplesOf(entries);
      const sizes = images.map((image) => sizeFor(entries[image]));
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
        const size = sizes[ids[0]];
        const { timeIds, ...tensors } = shownImages(
          await Promise.all(ids.map((id) => decoded.get(images[id]))),
          size,
          ({ width, height }, i) => ({
            left: place('crop-x', width - size[1], ids[i]),
            top: place('crop-y', height - size[0], ids[i]),
            flip: flipped(ids[i]),
          }),
          alphaMask ? factor : undefined,
        );
        return {
          items: ids.length,
          ids,
          epoch,
          tensors,
          strings: { text: ids.map((id) => captionAt(id, epoch)), picture: ids.map(pathOf) },
          numbers: { timeIds, ...weightsOfExamples(weighing, ids) },
        };
      };
      // The mean over the images of a batch is then the sum of the two kinds' means.
      const weighing = prior && isPaired ? { weightOf: (id: number) => (id < pairs ? 2 : 2 * prior.weight) } : {};
      const batchSize = isPaired ? 2 * options.batchSize : options.batchSize;
      const groupOf = (id: number) => sizes[id].join(' x ');
      const batches = (epoch: number) =>
        batchesOfGroups(epochOrder(random, images.length, epoch, shuffle), groupOf, batchSize, random, epoch, shuffle);
      // Pictures of a class may have to be drawn yet.
      const known = entries.flatMap(({ path }) => (headers.has(path) ? [path] : []));
      const facts = [
        ...(known.length > 0
          ? [
              [
                'pictures',
                summaryOf(
                  known.flatMap((path) => headers.get(path) ?? []),
                  resolution,
                  buckets !== undefined,
                  await countDoubles(known),
                ),
              ] as const,
            ]
          : []),
        ...(buckets ? bucketFacts(sizes, batchSize) : []),
      ];
      const centre = (_: string, room: number) => Math.floor(room / 2);
      return {
        items: images.length,
        batchSize,
        ...weighing,
        shapes: { images: [resolution, resolution, 3] },
        strings: { text: captions },
        captionsVary: shuffleCaption,
        captionAt,
        ...(buckets ? { batches } : {}),
        facts,
        ids(epoch) {
          if (buckets) return batches(epoch).flat();
          const order = epochOrder(random, pairs, epoch, shuffle);
          return isPaired ? Array.from(order).flatMap((id) => [id, pairs + id]) : order;
        },
        fingerprint: async () => {
          // Names, sizes and captions: reading every byte of a large folder would take as long as an epoch.
          const bytes = await Promise.all(entries.map(async ({ path, prior }) => (prior?.isDrawn ? 'drawn' : (await stat(path)).size)));
          return hashOfText(
            `${images.map((image, id) => `${basename(pathOf(id))} ${bytes[image]} ${captions[id]}${buckets ? ` ${groupOf(id)}` : ''}`).join('\n')} ${resolution}`,
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
          const [height, width] = (await readHeader(path, maxPixels)).size;
          const [h, w] = sizes[id];
          // One of the same shape leaves no place to choose.
          if (!centerCrop && height * w !== width * h) return null;
          const content = await sha256(await readFile(path));
          return (randomFlip ? [false, true] : [false]).map((flip) => ({
            key: `${content} ${h === w ? h : groupOf(id)} ${interpolation} ${background} ${flip ? 'mirrored' : ''}${alphaMask ? ' masked' : ''}`,
            load: () => batchOf([id], 0, centre, () => flip),
          }));
        },
        dispose: () => decoded.clear(),
      };
    },
  };
};
