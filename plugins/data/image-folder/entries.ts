import { extname, join, posix, relative } from 'node:path';
import { messageOf, type Problems } from '../../../core/index.js';
import type { Entry } from './entry.js';
import { isImage, isOtherImage, KINDS, TEXTS } from './kinds.js';
import { fromMetadata, METADATA, textOf } from './metadata.js';
import { type Below, walk } from './walk.js';

/** The images of a folder, and in words what of it is left out. */
export interface Listing {
  readonly entries: Entry[];
  readonly leftOut: readonly string[];
  /** Images for which a caption was looked for and not found, by their paths from the folder. */
  readonly uncaptioned: readonly string[];
}

export interface ListingOptions {
  /** The folder 10_sks dog, of this folder, says that its images are shown ten times, and what they show where nothing else does. */
  readonly folderRepeats?: boolean;
  /** Files that are passed over, by their paths from the folder, and what metadata says of them. */
  readonly without?: ReadonlySet<string> | undefined;
}

const firstNames = (names: readonly string[]): string => `${names.slice(0, 3).join(', ')}${names.length > 3 ? ', ...' : ''}`;

/**
 * The images below a folder, with captions, as Hugging Face's imagefolder takes them: of a folder that has one of the {@link METADATA}, and of
 * those below it, what that names; of others all images, with a .txt of the same name beside each (or a .caption, as kohya's scripts have them). Every fault is noted with file and line.
 * A `column` that is null wants no captions: every image is taken.
 */
export async function listEntries(
  folder: string,
  column: string | null,
  problems: Problems,
  options: ListingOptions = {},
): Promise<Listing> {
  const { folderRepeats = false, without: passed = new Set<string>() } = options;
  const bad = (what: string, fix: string) => problems.add('DATA_INVALID', 'image-folder', what, fix);
  let below: Below;
  try {
    below = await walk(folder);
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === 'ENOENT';
    bad(missing ? `there is no folder ${folder}` : `${folder}: ${messageOf(error)}`, 'Give a folder of images.');
    return { entries: [], leftOut: [], uncaptioned: [] };
  }
  const files = below.files.filter((path) => !passed.has(path));
  const there = new Set(files);
  const odd = below.odd.filter(isImage);
  if (odd.length > 0) bad(`${odd.length} images in ${folder} are no files: ${firstNames(odd)}`, 'Remove them.');
  const leftOut: string[] = [];
  if (below.runs.length > 0) leftOut.push(`${below.runs.length} folders of runs: ${firstNames(below.runs)}`);
  const others = files.filter(isOtherImage);
  if (others.length > 0) leftOut.push(`${others.length} images of kinds that are not read (${KINDS} are): ${firstNames(others)}`);

  if (!files.some(isImage))
    bad(`${folder} holds no ${KINDS}${leftOut.length > 0 ? `, but ${leftOut.join('; ')}` : ''}`, 'Give a folder of images.');
  if (column === null)
    return { entries: files.filter(isImage).map((name) => ({ path: join(folder, name), caption: '' })), leftOut, uncaptioned: [] };

  const entries: Entry[] = [];
  /** Folders whose images are named by a file, and that file. */
  const naming = new Map<string, string>();
  for (const name of METADATA)
    for (const path of files.filter((file) => posix.basename(file) === name)) {
      const other = naming.get(posix.dirname(path));
      if (other) leftOut.push(`${path}: captions are read from ${posix.basename(other)}`);
      else naming.set(posix.dirname(path), path);
    }
  for (const path of [...naming.values()].sort()) entries.push(...(await fromMetadata(folder, path, column, bad, passed)));

  const known = new Set(entries.map(({ path }) => path));
  const unnamed: string[] = [];
  const uncaptioned: string[] = [];
  for (const name of files.filter(isImage)) {
    const text = TEXTS.map((kind) => `${name.slice(0, -extname(name).length)}${kind}`).find((path) => there.has(path));
    if (isBelow(name, naming)) {
      if (!known.has(join(folder, name))) unnamed.push(name);
    } else if (text === undefined) {
      const said = folderRepeats ? REPEATS.exec(name)?.groups?.what : undefined;
      if (said === undefined) uncaptioned.push(name);
      else entries.push({ path: join(folder, name), caption: said });
    } else {
      const caption = await textOf(join(folder, text), bad);
      if (caption !== null) entries.push({ path: join(folder, name), caption: caption.trim() });
    }
  }
  if (unnamed.length > 0) {
    const by = naming.size === 1 ? [...naming.values()][0] : 'no metadata file';
    leftOut.push(`${unnamed.length} images that ${naming.size === 1 ? `${by} does not name` : `${by} names`}: ${firstNames(unnamed)}`);
  }
  const named = folderRepeats ? undefined : files.find((name) => isImage(name) && REPEATS.test(name));
  const repeats =
    named && `--folder_repeats (folderRepeats) reads ${named.split('/')[0]} as how often its images are shown, and what they show`;
  if (uncaptioned.length > 0)
    bad(
      `${uncaptioned.length} images in ${folder} have no caption: ${firstNames(uncaptioned)}`,
      `Write metadata.jsonl with file_name and text, or a .txt beside each image.${repeats ? ` ${repeats}.` : ''}`,
    );
  else if (repeats) leftOut.push(`the numbers in folders' names: ${repeats}`);
  if (!folderRepeats) return { entries, leftOut, uncaptioned };
  const timesOf = (path: string) => Number(REPEATS.exec(relative(folder, path).replaceAll('\\', '/'))?.groups?.times ?? 1);
  return { entries: entries.map((entry) => ({ ...entry, repeats: timesOf(entry.path) })), leftOut, uncaptioned };
}

/** A file in a folder as kohya's scripts name them: 10_sks dog. */
const REPEATS = /^(?<times>\d+)_(?<what>[^/]+)\//;

/** Whether a file stands in one of these folders, or below. */
function isBelow(path: string, folders: ReadonlyMap<string, string>): boolean {
  let place = posix.dirname(path);
  while (!folders.has(place) && place !== '.') place = posix.dirname(place);
  return folders.has(place);
}
