import { DATA, type Host, hashOfText, RANDOM, type Random, type Source } from '../../core/index.js';
import { type CaptionOptions, prefixed, shuffled } from './image-folder/captions.js';
import { type Decoded, decodeImage } from './image-folder/decode.js';
import type { Interpolation } from './image-folder/interpolations.js';
import { shownImages } from './image-folder/shown.js';
import type { PictureTables } from './image-folder/table.js';
import { bufferedOrder } from './order/buffered-order.js';
import { type Group, groupOf, groupsOf, Pass } from './parquet-pictures/rows.js';

export interface ParquetPicturesOptions extends CaptionOptions {
  readonly batchSize: number;
  /** Side of the square that pictures are cut to. */
  readonly resolution: number;
  /** Rows that the order is drawn from; 1,000 by default. So many pictures are in memory, as they are in the tables, beside the group that is being read. */
  readonly bufferSize?: number;
  /** The centre instead of a random place. */
  readonly centerCrop?: boolean;
  readonly randomFlip?: boolean;
  /** Use only so many: those that the first epoch would begin with. All by default. */
  readonly maxSamples?: number;
  /** Pictures with more pixels are refused; 64 million by default. */
  readonly maxPixels?: number;
  /** How pictures are brought to the resolution; lanczos by default. */
  readonly interpolation?: Interpolation;
  /** The colour behind what is transparent: white by default, black, grey, or #rrggbb. */
  readonly background?: string;
}

/** What is being made of rows of an epoch. */
interface UnderWay {
  readonly epoch: number;
  readonly pass: Pass;
  readonly pictures: Map<number, Promise<{ readonly decoded: Decoded; readonly caption: string }>>;
}

/**
 * Pictures with captions out of tables (Parquet) that need not fit into memory, nor onto the disk: read by groups of rows, in the order in which they are needed. Batches are those of
 * imageFolder(). Only the tables' ends are read before, which tell how many rows there are: epochs and schedules are as of any data. The order is drawn through a buffer (bufferedOrder); it is the
 * same on every machine, ranks take different rows of it, and a resumed run reads no more than what is still to come. A picture that cannot be decoded ends the run (BAD_IMAGE) when it
 * is met. Needs Node and sharp.
 */
export const parquetPictures = (tables: PictureTables, options: ParquetPicturesOptions) => {
  const { batchSize, resolution, bufferSize = 1000, centerCrop = false, randomFlip = false, maxSamples } = options;
  const { maxPixels = 64_000_000, interpolation = 'lanczos', background = 'white', shuffleCaption = false, keepTokens = 0 } = options;
  const square = [resolution, resolution] as const;
  const decoding = { maxPixels, interpolation, background, keepAlpha: false };
  let random: Random;
  return {
    name: 'parquet-pictures',
    fills: DATA,
    apply({ hooks, resolve }: Host) {
      random = resolve(RANDOM);
      hooks.validate.tap((problems) => {
        const check = problems.options('parquet-pictures');
        check.whole('batchSize', batchSize, 1);
        check.whole('resolution', resolution, 1);
        check.whole('bufferSize', bufferSize, 1);
        check.whole('keepTokens', keepTokens, 0);
        if (maxSamples !== undefined) check.whole('maxSamples', maxSamples, 1, 'or leave it out');
      });
    },
    // What the source's fingerprint does not tell.
    settings: () => ({
      centerCrop,
      randomFlip,
      bufferSize,
      interpolation,
      background,
      ...(shuffleCaption ? { keepTokens } : {}),
    }),
    async open(): Promise<Source> {
      const groups = await groupsOf(tables);
      const total = groups.reduce((sum, { count }) => sum + count, 0);
      let wanted = groups.map(({ from, count }) => Int32Array.from({ length: count }, (_, i) => from + i));
      if (maxSamples !== undefined && maxSamples < total) {
        const chosen = bufferedOrder(random, wanted, bufferSize, 0).slice(0, maxSamples).sort();
        wanted = groups.map(({ from, count }) => chosen.filter((row) => row >= from && row < from + count));
      }
      const items = Math.min(total, maxSamples ?? total);
      const nameOf = (id: number): string => {
        const { path, from, fromInTable }: Group = groups[groupOf(groups, id)];
        return `${tables.files.where}/${path}, row ${fromInTable + id - from + 1}`;
      };
      const orderOf = (epoch: number) => bufferedOrder(random, wanted, bufferSize, epoch);
      let underWay: UnderWay | null = null;
      const begun = (epoch: number): UnderWay => {
        if (underWay?.epoch !== epoch) underWay = { epoch, pass: new Pass(groups, orderOf(epoch), total), pictures: new Map() };
        return underWay;
      };
      const picture = ({ pass, pictures }: UnderWay, id: number) => {
        const known = pictures.get(id);
        if (known) return known;
        const making = pass
          .row(id)
          .then(async ({ bytes, caption }) => ({ decoded: await decodeImage({ name: nameOf(id), bytes }, square, decoding), caption }));
        // An error is for the one who asks for the batch.
        making.catch(() => undefined);
        pictures.set(id, making);
        return making;
      };
      return {
        items,
        batchSize,
        shapes: { images: [resolution, resolution, 3] },
        nameOf,
        ids: orderOf,
        fingerprint: async () => {
          const sizes = await Promise.all(tables.paths.map((path) => tables.files.size(path)));
          const { imageColumn, captionColumn } = tables;
          return hashOfText(
            JSON.stringify([tables.paths, sizes, imageColumn, captionColumn, total, items, resolution, options.captionPrefix]),
          );
        },
        async load(ids, { epoch, upcoming }) {
          // Who tries something comes back to the epoch's beginning.
          if (underWay?.epoch === epoch && underWay.pass.isPast(ids)) underWay = null;
          const now = begun(epoch);
          now.pass.goOn(ids);
          const loading = ids.map((id) => picture(now, id));
          for (const id of upcoming) void picture(now, id);
          const loaded = await Promise.all(loading);
          for (const id of ids) now.pictures.delete(id);
          const { images, timeIds } = shownImages(
            loaded.map(({ decoded }) => decoded),
            square,
            ({ width, height }, i) => {
              const place = (name: string, room: number) =>
                centerCrop ? Math.floor(room / 2) : random.item(name, epoch, ids[i]).integer(room + 1);
              return {
                left: place('crop-x', width - resolution),
                top: place('crop-y', height - resolution),
                flip: randomFlip && random.item('flip', epoch, ids[i]).uniform() < 0.5,
              };
            },
          );
          const text = loaded.map(({ caption }, i) =>
            prefixed(shuffleCaption ? shuffled(caption, keepTokens, random.item('caption', epoch, ids[i])) : caption, options),
          );
          return { items: ids.length, ids, epoch, tensors: { images }, strings: { text, picture: ids.map(nameOf) }, numbers: { timeIds } };
        },
        dispose() {
          underWay = null;
        },
      };
    },
  };
};
