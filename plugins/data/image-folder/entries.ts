import { readdir, readFile } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { messageOf, type Problems } from '../../../core/index.js';

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
      bad(`${where} is not JSON: ${messageOf(error)}`, 'Write one JSON object a line.');
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
