import { readdir, readFile, stat } from 'node:fs/promises';
import { extname, join, posix } from 'node:path';
import { messageOf, type Problems } from '../../../core/index.js';
import { decodeText } from '../../persist/formats/text.js';

const IMAGES = new Set(['.png', '.jpg', '.jpeg', '.webp']);
/** Pictures too, and not read: they are named, not passed over in silence. */
const OTHER_IMAGES = new Set(['.bmp', '.gif', '.tif', '.tiff', '.avif', '.heic', '.heif', '.jxl', '.svg']);

/** Faults that are named one by one. */
const SHOWN = 10;

/** An image of the folder, and what is said of it. */
export interface Entry {
  readonly path: string;
  readonly caption: string;
}

/** The images of a folder, and in words what of it is left out. */
export interface Listing {
  readonly entries: Entry[];
  readonly leftOut: readonly string[];
}

const firstNames = (names: readonly string[]): string => `${names.slice(0, 3).join(', ')}${names.length > 3 ? ', ...' : ''}`;
const isImage = (name: string): boolean => IMAGES.has(extname(name).toLowerCase());

/** The images with captions, or without any and all that are there where `column` is null; every fault is noted with file and line. */
export async function listEntries(folder: string, column: string | null, problems: Problems): Promise<Listing> {
  const bad = (what: string, fix: string) => problems.add('DATA_INVALID', 'image-folder', what, fix);
  const nothing: Listing = { entries: [], leftOut: [] };
  let files: string[];
  let folders: string[];
  try {
    const all = await readdir(folder, { withFileTypes: true });
    const seen = all.filter(({ name }) => !name.startsWith('.')).sort((a, b) => (a.name < b.name ? -1 : 1));
    folders = [];
    files = [];
    const odd: string[] = [];
    for (const entry of seen) {
      // Where a link leads to; what is neither file nor folder may never end (a pipe, a device).
      const found = entry.isSymbolicLink() ? await stat(join(folder, entry.name)).catch(() => null) : entry;
      if (found?.isFile()) files.push(entry.name);
      else if (found?.isDirectory()) folders.push(entry.name);
      else if (isImage(entry.name)) odd.push(entry.name);
    }
    if (odd.length > 0) bad(`${odd.length} images in ${folder} are no files: ${firstNames(odd)}`, 'Remove them.');
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === 'ENOENT';
    bad(missing ? `there is no folder ${folder}` : `${folder}: ${messageOf(error)}`, 'Give a folder of images.');
    return nothing;
  }
  const images = files.filter(isImage);
  const others = files.filter((name) => OTHER_IMAGES.has(extname(name).toLowerCase()));
  const leftOut =
    others.length > 0 ? [`${others.length} images of kinds that are not read (.png, .jpg and .webp are): ${firstNames(others)}`] : [];
  const below = await Promise.all(folders.map((name) => imagesBelow(folder, name)));
  if (column === null) {
    const all = [...images, ...below.flat()];
    if (all.length === 0) bad(`${folder} holds no .png, .jpg or .webp`, 'Give a folder of images.');
    return { entries: all.map((name) => ({ path: join(folder, name), caption: '' })), leftOut };
  }
  if (files.includes('metadata.jsonl')) {
    const entries = await fromMetadata(folder, column, bad);
    const named = new Set(entries.map(({ path }) => path));
    const unnamed = [...images, ...below.flat()].filter((name) => !named.has(join(folder, name)));
    if (unnamed.length > 0) leftOut.push(`${unnamed.length} images that metadata.jsonl does not name: ${firstNames(unnamed)}`);
    return { entries, leftOut };
  }
  for (const name of ['metadata.csv', 'metadata.parquet'])
    if (files.includes(name)) leftOut.push(`${name}: captions are read from metadata.jsonl`);
  const holding = folders.filter((_, i) => below[i].length > 0);
  if (holding.length > 0) leftOut.push(`${holding.length} folders below it, whose images need a metadata.jsonl: ${firstNames(holding)}`);
  if (images.length === 0)
    bad(`${folder} holds no .png, .jpg or .webp${leftOut.length > 0 ? `, but ${leftOut.join('; ')}` : ''}`, 'Give a folder of images.');
  const entries: Entry[] = [];
  const without: string[] = [];
  for (const name of images) {
    const text = `${name.slice(0, -extname(name).length)}.txt`;
    if (!files.includes(text)) without.push(name);
    else {
      const caption = await textOf(join(folder, text), bad);
      if (caption !== null) entries.push({ path: join(folder, name), caption: caption.trim() });
    }
  }
  if (without.length > 0)
    bad(
      `${without.length} images in ${folder} have no caption: ${firstNames(without)}`,
      'Write metadata.jsonl with file_name and text, or a .txt beside each image.',
    );
  return { entries, leftOut };
}

/** The images of a folder's folder and of those below it, hidden ones left out; of what cannot be read, none. */
async function imagesBelow(folder: string, name: string): Promise<string[]> {
  const all = await readdir(join(folder, name), { withFileTypes: true }).catch(() => []);
  const seen = all.filter((entry) => !entry.name.startsWith('.')).sort((a, b) => (a.name < b.name ? -1 : 1));
  const found: string[] = [];
  for (const entry of seen) {
    const path = posix.join(name, entry.name);
    if (entry.isDirectory()) found.push(...(await imagesBelow(folder, path)));
    else if (isImage(entry.name)) found.push(path);
  }
  return found;
}

type Bad = (what: string, fix: string) => void;

/** A file's text; null, and a problem, where its letters are in doubt. */
async function textOf(path: string, bad: Bad): Promise<string | null> {
  const text = decodeText(await readFile(path));
  if (text === null) bad(`${path} is neither UTF-8 nor UTF-16 with its mark`, 'Save it as UTF-8.');
  return text;
}

async function fromMetadata(folder: string, column: string, report: Bad): Promise<Entry[]> {
  const file = join(folder, 'metadata.jsonl');
  const entries: Entry[] = [];
  const text = await textOf(file, report);
  if (text === null) return [];
  let faults = 0;
  const bad: Bad = (what, fix) => {
    if (++faults <= SHOWN) report(what, fix);
  };
  for (const [i, line] of text.split('\n').entries()) {
    if (line.trim() === '') continue;
    const where = `${file}, line ${i + 1}`;
    let row: Record<string, unknown>;
    try {
      row = JSON.parse(line);
    } catch (error) {
      bad(`${where} is not JSON: ${messageOf(error)}`, 'Write one JSON object a line.');
      continue;
    }
    const [given, caption] = [row?.file_name, row?.[column]];
    if (typeof given !== 'string') {
      bad(`${where} has no file_name`, 'Name the image.');
      continue;
    }
    const name = posix.normalize(given);
    const path = join(folder, name);
    if (typeof caption !== 'string' && typeof caption !== 'number')
      bad(`${where} has no ${column}`, 'Give the caption, or name its field with captionColumn.');
    else if (posix.isAbsolute(name) || name.startsWith('..'))
      bad(`${where}: ${given} is not below the folder`, 'Name images of the folder.');
    else if (!isImage(name)) bad(`${where}: ${given} is no .png, .jpg or .webp`, 'Name an image of such a kind.');
    else if (!(await stat(path).catch(() => null))?.isFile()) bad(`${where}: there is no image ${given}`, 'Correct file_name.');
    else entries.push({ path, caption: String(caption) });
  }
  if (faults > SHOWN) report(`${file}: ${faults - SHOWN} more lines have faults`, 'Mend these first.');
  if (entries.length === 0 && faults === 0) report(`${file} names no image`, 'Write one line an image.');
  return entries;
}
