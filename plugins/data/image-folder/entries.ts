import { readdir, readFile } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { messageOf, type Problems } from '../../../core/index.js';
import { decodeText } from '../../persist/formats/text.js';

const IMAGES = new Set(['.png', '.jpg', '.jpeg', '.webp']);

/** An image of the folder, and what is said of it. */
export interface Entry {
  readonly path: string;
  readonly caption: string;
}

/** The images with captions; every fault is noted with file and line. */
export async function listEntries(folder: string, column: string, problems: Problems): Promise<Entry[]> {
  const bad = (what: string, fix: string) => problems.add('DATA_INVALID', 'image-folder', what, fix);
  let names: string[];
  try {
    names = (await readdir(folder)).sort();
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === 'ENOENT';
    bad(missing ? `there is no folder ${folder}` : `${folder}: ${messageOf(error)}`, 'Give a folder of images.');
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
    else {
      const caption = await textOf(join(folder, text), bad);
      if (caption !== null) entries.push({ path: join(folder, name), caption: caption.trim() });
    }
  }
  if (without.length > 0)
    bad(
      `${without.length} images in ${folder} have no caption: ${without.slice(0, 3).join(', ')}${without.length > 3 ? ', ...' : ''}`,
      'Write metadata.jsonl with file_name and text, or a .txt beside each image.',
    );
  return entries;
}

type Bad = (what: string, fix: string) => void;

/** A file's text; null, and a problem, where its letters are in doubt. */
async function textOf(path: string, bad: Bad): Promise<string | null> {
  const text = decodeText(await readFile(path));
  if (text === null) bad(`${path} is neither UTF-8 nor UTF-16 with its mark`, 'Save it as UTF-8.');
  return text;
}

async function fromMetadata(folder: string, column: string, images: ReadonlySet<string>, bad: Bad): Promise<Entry[]> {
  const file = join(folder, 'metadata.jsonl');
  const entries: Entry[] = [];
  const text = await textOf(file, bad);
  if (text === null) return [];
  const lines = text.split('\n');
  for (const [i, line] of lines.entries()) {
    if (line.trim() === '') continue;
    const where = `${file}, line ${i + 1}`;
    let row: Record<string, unknown>;
    try {
      row = JSON.parse(line);
    } catch (error) {
      bad(`${where} is not JSON: ${messageOf(error)}`, 'Write one JSON object a line.');
      continue;
    }
    const [name, caption] = [row?.file_name, row?.[column]];
    if (typeof name !== 'string') bad(`${where} has no file_name`, 'Name the image.');
    else if (typeof caption !== 'string') bad(`${where} has no ${column}`, 'Give the caption, or name its field with captionColumn.');
    else if (!images.has(name)) bad(`${where}: there is no image ${name}`, 'Correct file_name; images stand beside metadata.jsonl.');
    else entries.push({ path: join(folder, name), caption });
  }
  if (entries.length === 0) bad(`${file} names no image`, 'Write one line an image.');
  return entries;
}
