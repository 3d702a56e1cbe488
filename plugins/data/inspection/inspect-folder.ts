import { readFile } from 'node:fs/promises';
import { relative } from 'node:path';
import { messageOf, Problems, SteploomError } from '../../../core/index.js';
import type { Tokenizer } from '../../models/clip/tokenizer.js';
import type { Size } from '../../models/unet/time-ids.js';
import { sha256 } from '../../persist/formats/sha256.js';
import { type BucketOptions, bucketsOf, checkBuckets, checkStep, sizeChooser } from '../image-folder/buckets.js';
import { type CaptionOptions, prefixed } from '../image-folder/captions.js';
import { type Header, openImage, readHeader, refuseNarrow } from '../image-folder/decode.js';
import { listEntries } from '../image-folder/entries.js';
import { isSmall } from '../image-folder/summary.js';
import { ContactSheet } from './contact-sheet.js';
import { alike, type Likeness, likenessOf } from './likeness.js';
import { type CaptionWords, wordsOf } from './words.js';

export interface InspectionOptions extends Pick<CaptionOptions, 'captionPrefix'> {
  /** Side of the square that images are cut to. */
  readonly resolution: number;
  /** Sizes in place of the square; their sides are multiples of what the model works on. */
  readonly buckets?: BucketOptions;
  readonly unit: number;
  readonly tokenizers: readonly Tokenizer[];
  readonly captionColumn: string;
  /** What each image shows, as imageFolder() takes it: captions are not looked for. */
  readonly caption?: string;
  readonly folderRepeats: boolean;
  readonly maxPixels: number;
  /** A PNG to write, of all images as they are cut. */
  readonly contactSheet?: string;
  /** Told how many images have been looked at. */
  readonly onProgress?: (done: number, of: number, what: string) => void;
}

/** What is found in a folder of images. Images are named by their paths from it. */
export interface Inspection {
  /** How many there are that can be read, and how many an epoch shows. */
  readonly images: number;
  readonly shown: number;
  /** What they are cut to: how many images are of a size. */
  readonly sizes: readonly { readonly width: number; readonly height: number; readonly images: number }[];
  /** Widths and heights of the smallest and the largest, by their pixels. */
  readonly smallest: readonly [number, number] | null;
  readonly largest: readonly [number, number] | null;
  /** Smaller than what they are cut to, or than a size of all pixels. */
  readonly small: readonly string[];
  /** Turned by what their cameras say (EXIF). */
  readonly turned: readonly string[];
  /** Transparent in places, and everywhere. */
  readonly transparent: readonly string[];
  readonly invisible: readonly string[];
  readonly unreadable: readonly { readonly image: string; readonly why: string }[];
  readonly captions: Omit<CaptionWords, 'long'> & { readonly long: readonly { readonly image: string; readonly tokens: number }[] };
  /** Whether no image has a caption, nor one is given for all. */
  readonly captionless: boolean;
  /** Images with the same bytes, and others that look alike, in groups. */
  readonly same: readonly (readonly string[])[];
  readonly alike: readonly (readonly string[])[];
  /** What would keep a run from starting, and what of the folder is left out. */
  readonly problems: readonly string[];
  readonly leftOut: readonly string[];
}

/** Images looked at together: so many are in memory. */
const AT_ONCE = 8;

/** What is kept of an image. */
interface Looked {
  readonly path: string;
  readonly header: Header;
  readonly size: Size;
  readonly content: string;
  readonly likeness: Likeness;
  readonly isTransparent: boolean;
  readonly isInvisible: boolean;
}

/** Looks at every image of a folder, as imageFolder() takes it. OPTION_INVALID for sizes that cannot be, DATA_INVALID where there are no images. */
export async function inspectFolder(folder: string, options: InspectionOptions): Promise<Inspection> {
  const { resolution, unit, captionColumn, caption, folderRepeats, maxPixels, contactSheet, onProgress } = options;
  const buckets = options.buckets && bucketsOf(resolution, options.buckets);
  const wrong = new Problems();
  if (buckets && checkBuckets(wrong.options('inspect'), resolution, buckets)) checkStep(wrong.options('inspect'), buckets, unit);
  if (wrong.list.length > 0) throw new SteploomError(wrong.list);
  const choose = buckets ? sizeChooser(resolution, buckets) : (): Size => [resolution, resolution];

  const asked = new Problems();
  const listed = await listEntries(folder, caption === undefined ? captionColumn : null, asked, { folderRepeats });
  // Without captions there is still something to be said of the images.
  const others = new Problems();
  const all = listed.entries.length > 0 ? listed : await listEntries(folder, null, others);
  // What nobody has written is not missing: a run may be told what all images show.
  const captionless = listed.entries.length === 0 && listed.uncaptioned.length > 0 && listed.uncaptioned.length === all.entries.length;
  const problems = captionless ? others : asked;
  const entries = caption === undefined ? all.entries : all.entries.map((entry) => ({ ...entry, caption }));
  if (entries.length === 0) throw new SteploomError(problems.list);
  const paths = [...new Set(entries.map(({ path }) => path))];
  const sheet = contactSheet === undefined ? null : new ContactSheet(paths.length);

  const nameOf = (path: string) => relative(folder, path).replaceAll('\\', '/');
  async function look(path: string, index: number): Promise<Looked> {
    const header = await readHeader(path, maxPixels);
    const size = choose(header.size);
    if (!size) throw new Error('is smaller than any size, and is not to be enlarged');
    refuseNarrow(path, header, size);
    const likeness = await likenessOf(await openImage(path, maxPixels));
    await sheet?.add(index, await openImage(path, maxPixels), size);
    const { channels, isOpaque } = header.hasAlpha ? await (await openImage(path, maxPixels)).stats() : { channels: [], isOpaque: true };
    const content = await sha256(await readFile(path));
    return { path, header, size, content, likeness, isTransparent: !isOpaque, isInvisible: channels.at(-1)?.max === 0 };
  }

  const looked: Looked[] = [];
  const unreadable: Inspection['unreadable'][number][] = [];
  for (let at = 0; at < paths.length; at += AT_ONCE) {
    const some = await Promise.all(
      paths.slice(at, at + AT_ONCE).map((path, i) =>
        look(path, at + i).catch((error: unknown) => ({
          image: nameOf(path),
          why: error instanceof SteploomError ? error.problems[0].what.replace(`${path} `, '') : messageOf(error),
        })),
      ),
    );
    for (const one of some) {
      if ('why' in one) unreadable.push(one);
      else looked.push(one);
    }
    onProgress?.(Math.min(paths.length, at + AT_ONCE), paths.length, 'images');
  }
  if (sheet && contactSheet !== undefined) await sheet.write(contactSheet);

  const isRead = new Set(looked.map(({ path }) => path));
  const shown = entries.filter(({ path }) => isRead.has(path));
  const { long, ...words } = wordsOf(
    shown.map(({ caption }) => prefixed(caption, options)),
    options.tokenizers,
  );
  const withContent = grouped(looked, ({ content }) => content);
  // Of images with the same bytes one stands for all.
  const different = withContent.map(([first]) => first);
  const pathsOf = (is: (one: Looked) => boolean) => looked.filter(is).map(({ path }) => nameOf(path));
  const bySize = looked.map(({ header: { size } }) => size).sort((a, b) => a[0] * a[1] - b[0] * b[1]);
  const turnedRound = (size: Size | undefined): [number, number] | null => (size ? [size[1], size[0]] : null);
  return {
    images: looked.length,
    shown: shown.reduce((sum, { repeats = 1 }) => sum + repeats, 0),
    sizes: grouped(looked, ({ size }) => size.join())
      .map((group) => ({ width: group[0].size[1], height: group[0].size[0], images: group.length }))
      .sort((a, b) => a.width * b.height - b.width * a.height || a.width - b.width),
    smallest: turnedRound(bySize[0]),
    largest: turnedRound(bySize.at(-1)),
    small: pathsOf(({ header }) => isSmall(header, resolution, buckets !== undefined)),
    turned: pathsOf(({ header }) => header.isTurned),
    transparent: pathsOf(({ isTransparent, isInvisible }) => isTransparent && !isInvisible),
    invisible: pathsOf(({ isInvisible }) => isInvisible),
    unreadable,
    captions: { ...words, long: long.map(({ caption, tokens }) => ({ image: nameOf(shown[caption].path), tokens })) },
    captionless,
    same: withContent.filter(({ length }) => length > 1).map((group) => group.map(({ path }) => nameOf(path))),
    alike: alike(different.map(({ likeness }) => likeness)).map((group) => group.map((i) => nameOf(different[i].path))),
    problems: problems.list.map(({ what }) => what),
    leftOut: listed.leftOut,
  };
}

/** Groups of what has the same key, in the order in which they begin. */
function grouped<T>(all: readonly T[], keyOf: (one: T) => string): T[][] {
  const groups = new Map<string, T[]>();
  for (const one of all) {
    const group = groups.get(keyOf(one));
    if (group) group.push(one);
    else groups.set(keyOf(one), [one]);
  }
  return [...groups.values()];
}
