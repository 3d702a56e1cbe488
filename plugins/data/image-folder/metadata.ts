import { readFile, stat } from 'node:fs/promises';
import { join, posix } from 'node:path';
import { messageOf } from '../../../core/index.js';
import { decodeText } from '../../persist/formats/text.js';
import type { Entry } from './entry.js';
import { isImage, KINDS } from './kinds.js';

/** Files that name images and say their captions, as Hugging Face's imagefolder knows them; of several in a folder the first is read. */
export const METADATA = ['metadata.jsonl', 'metadata.csv', 'metadata.parquet'] as const;

/** Notes what is wrong, and how to mend it. */
export type Bad = (what: string, fix: string) => void;

/** Faults that are named one by one. */
const SHOWN = 10;

interface Row {
  /** How messages name it, after the file. */
  readonly where: string;
  /** Null where it is no row. */
  readonly values: Readonly<Record<string, unknown>> | null;
  /** Why. */
  readonly fault?: string;
}

/** A file's text; null, and a problem, where its letters are in doubt. */
export async function textOf(path: string, bad: Bad): Promise<string | null> {
  const text = decodeText(await readFile(path));
  if (text === null) bad(`${path} is neither UTF-8 nor UTF-16 with its mark`, 'Save it as UTF-8.');
  return text;
}

const jsonRows = (text: string): Row[] =>
  text.split('\n').flatMap((line, i) => {
    if (line.trim() === '') return [];
    const where = `line ${i + 1}`;
    try {
      return [{ where, values: JSON.parse(line) ?? {} }];
    } catch (error) {
      return [{ where, values: null, fault: `is not JSON: ${messageOf(error)}` }];
    }
  });

/** Comma-separated values (RFC 4180), with line ends of all kinds. */
async function csvRows(file: string, text: string, bad: Bad): Promise<Row[]> {
  const { parse } = await import('csv-parse/sync');
  const options = { info: true, relax_column_count: true, skip_empty_lines: true, record_delimiter: ['\r\n', '\n', '\r'] };
  let rows: { info: { lines: number }; record: string[] }[];
  try {
    rows = parse(text, options) as unknown as typeof rows;
  } catch (error) {
    bad(
      `${file} cannot be read: ${messageOf(error)}`,
      'Put a text with commas, quotes or line ends between quotes, and write quotes within it twice.',
    );
    return [];
  }
  const [head, ...rest] = rows;
  return rest.map(({ info, record }) => {
    const where = `line ${info.lines - record.reduce((lines, cell) => lines + cell.split('\n').length - 1, 0)}`;
    if (record.length > head.record.length)
      return {
        where,
        values: null,
        fault: `has ${record.length} cells, and the first line ${head.record.length}: quote a text that has commas`,
      };
    return { where, values: Object.fromEntries(head.record.map((name, i) => [name, record[i]])) };
  });
}

async function parquetRows(file: string, bad: Bad): Promise<Row[]> {
  const [{ asyncBufferFromFile, parquetReadObjects }, { compressors }] = await Promise.all([
    import('hyparquet'),
    import('hyparquet-compressors'),
  ]);
  try {
    const rows = await parquetReadObjects({ file: await asyncBufferFromFile(file), compressors });
    return rows.map((values, i) => ({ where: `row ${i + 1}`, values }));
  } catch (error) {
    bad(`${file} cannot be read: ${messageOf(error)}`, 'Write it again.');
    return [];
  }
}

async function rowsOf(file: string, bad: Bad): Promise<Row[]> {
  if (file.endsWith('.parquet')) return parquetRows(file, bad);
  const text = await textOf(file, bad);
  if (text === null) return [];
  return file.endsWith('.csv') ? csvRows(file, text, bad) : jsonRows(text);
}

/** The images that the metadata file at `path`, below `folder`, names, each by its path from the file, without those that are `passed` over; every fault is noted with file and line. */
export async function fromMetadata(
  folder: string,
  path: string,
  column: string,
  report: Bad,
  passed: ReadonlySet<string>,
): Promise<Entry[]> {
  const file = join(folder, path);
  const place = join(folder, posix.dirname(path));
  const entries: Entry[] = [];
  let faults = 0;
  const bad: Bad = (what, fix) => {
    if (++faults <= SHOWN) report(what, fix);
  };
  for (const { where: at, values, fault } of await rowsOf(file, bad)) {
    const where = `${file}, ${at}`;
    if (values === null) {
      bad(`${where} ${fault}`, file.endsWith('.csv') ? 'Write as many cells as columns.' : 'Write one JSON object a line.');
      continue;
    }
    const [given, caption] = [values.file_name, values[column]];
    if (typeof given !== 'string') {
      bad(`${where} has no file_name`, 'Name the image.');
      continue;
    }
    const name = posix.normalize(given);
    const image = join(place, name);
    if (passed.has(posix.join(posix.dirname(path), name))) continue;
    if (!['string', 'number', 'bigint'].includes(typeof caption))
      bad(`${where} has no ${column}`, 'Give the caption, or name its field with captionColumn.');
    else if (posix.isAbsolute(name) || name.startsWith('..'))
      bad(`${where}: ${given} is not below the folder`, 'Name images of the folder.');
    else if (!isImage(name)) bad(`${where}: ${given} is no ${KINDS}`, 'Name an image of such a kind.');
    else if (!(await stat(image).catch(() => null))?.isFile()) bad(`${where}: there is no image ${given}`, 'Correct file_name.');
    else entries.push({ path: image, caption: String(caption) });
  }
  if (faults > SHOWN) report(`${file}: ${faults - SHOWN} more lines have faults`, 'Mend these first.');
  if (entries.length === 0 && faults === 0) report(`${file} names no image`, 'Write one line an image.');
  return entries;
}
