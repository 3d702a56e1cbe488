import { copyFile, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Problems } from '../../../../core/index.js';
import { listEntries } from '../../../../plugins/data/image-folder/entries.js';

const fixture = (name: string) => fileURLToPath(new URL(`../../../fixtures/pictures/${name}`, import.meta.url));
let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'steploom-entries-'));
});
afterEach(() => rm(folder, { recursive: true }));

async function put(files: Readonly<Record<string, string | Uint8Array>>): Promise<void> {
  for (const [name, content] of Object.entries(files)) {
    await mkdir(dirname(join(folder, name)), { recursive: true });
    await writeFile(join(folder, name), content);
  }
}

/** What is found, by paths from the folder. */
async function listed(column: string | null = 'text') {
  const problems = new Problems();
  const { entries, leftOut } = await listEntries(folder, column, problems);
  const captions = Object.fromEntries(entries.map(({ path, caption }) => [path.slice(folder.length + 1), caption]));
  return { captions, leftOut, problems: problems.list.map(({ what }) => what.replaceAll(folder, '.')) };
}
const fine = (captions: object) => ({ captions, leftOut: [], problems: [] });

test('captions beside the pictures, in all folders below; what is hidden and what is no picture is passed over', async () => {
  await put({
    'a.png': '',
    'a.txt': ' first\n',
    'deep/er/b.JPEG': '',
    'deep/er/b.txt': 'second',
    'notes.md': '',
    ...Object.fromEntries(['.DS_Store', '._a.png', 'deep/.hidden/c.png', 'deep/._b.JPEG'].map((name) => [name, ''])),
    ...Object.fromEntries(
      ['bmp', 'gif', 'tif', 'tiff', 'avif', 'webp'].flatMap((kind) => [
        [`k/${kind}.${kind}`, ''],
        [`k/${kind}.txt`, kind],
      ]),
    ),
  });
  // A link that leads back is not followed for ever.
  await symlink(folder, join(folder, 'deep', 'back'));
  expect(await listed()).toEqual(
    fine({
      'a.png': 'first',
      'deep/er/b.JPEG': 'second',
      ...Object.fromEntries(['bmp', 'gif', 'tif', 'tiff', 'avif', 'webp'].map((kind) => [`k/${kind}.${kind}`, kind])),
    }),
  );
});

test('metadata.csv: quoted cells, line ends of all kinds, and faults with their lines', async () => {
  await put({
    'a.png': '',
    'in/b.png': '',
    'metadata.csv': '\uFEFFfile_name,text\r\n./a.png,"one, ""two""\nthree"\r\n\r\nin/../in/b.png,last',
  });
  expect(await listed()).toEqual(fine({ 'a.png': 'one, "two"\nthree', 'in/b.png': 'last' }));
  await put({ 'metadata.csv': 'text,file_name\n"a\nb",a.png\nonly\nx,none.png\n' });
  expect((await listed()).problems).toEqual([
    './metadata.csv, line 4 has no file_name',
    './metadata.csv, line 5: there is no image none.png',
  ]);
  await put({ 'metadata.csv': 'file_name,text\na.png,a dog, sitting\n' });
  expect((await listed()).problems).toEqual(['./metadata.csv, line 2 has 3 cells, and the first line 2: quote a text that has commas']);
  await put({ 'metadata.csv': 'file_name,text\na.png,"a dog\n' });
  expect((await listed()).problems).toEqual([expect.stringMatching(/^\.\/metadata\.csv cannot be read: Quote Not Closed/)]);
  await put({ 'metadata.csv': '' });
  expect((await listed()).problems).toEqual(['./metadata.csv names no image']);
});

test('metadata.parquet, compressed; numbers are captions, too', async () => {
  await put({ 'set/one.png': '', 'set/deep/two.png': '' });
  await copyFile(fixture('names.parquet'), join(folder, 'set', 'metadata.parquet'));
  expect(await listed()).toEqual(fine({ 'set/one.png': 'eins, Käfer', 'set/deep/two.png': 'zwei' }));
  expect(await listed('number')).toEqual(fine({ 'set/one.png': '7', 'set/deep/two.png': '8' }));
  await put({ 'set/metadata.parquet': 'PAR1 nothing' });
  expect((await listed()).problems[0]).toContain('./set/metadata.parquet cannot be read: ');
});

test('a metadata file speaks for its folder and those below; others need a .txt', async () => {
  await put({
    'named/metadata.jsonl': '{"file_name": "deep/a.png", "text": "a"}',
    'named/metadata.csv': 'file_name,text\nb.png,b',
    'named/deep/a.png': '',
    'named/b.png': '',
    'beside/c.png': '',
    'beside/c.txt': 'c',
    'd.png': '',
  });
  expect(await listed()).toEqual({
    captions: { 'named/deep/a.png': 'a', 'beside/c.png': 'c' },
    leftOut: ['named/metadata.csv: captions are read from metadata.jsonl', '1 images that named/metadata.jsonl does not name: named/b.png'],
    problems: ['1 images in . have no caption: d.png'],
  });
});

test('kinds that are not read are named', async () => {
  await put({ 'a.heic': '', 'b.svg': '' });
  expect(await listed()).toMatchObject({
    leftOut: [expect.stringMatching(/^2 images of kinds that are not read .*: a.heic, b.svg$/)],
    problems: [expect.stringMatching(/^\. holds no \.png.* but 2 images/)],
  });
});

test('texts are decoded strictly', async () => {
  const utf16 = Buffer.concat([Buffer.from([0xff, 0xfe]), Buffer.from('file_name,text\na.png,Käfer', 'utf16le')]);
  await put({ 'a.png': '', 'metadata.csv': utf16 });
  expect(await listed()).toEqual(fine({ 'a.png': 'Käfer' }));
  await put({ 'metadata.csv': Buffer.from('file_name,text\na.png,Käfer', 'latin1') });
  expect((await listed()).problems).toContain('./metadata.csv is neither UTF-8 nor UTF-16 with its mark');
});

test('folders may say how often their pictures are shown, and what they show', async () => {
  await put({ '10_sks dog/a.png': '', '10_sks dog/b.png': '', '10_sks dog/b.txt': 'a dog', '2_x/metadata.csv': 'file_name,text\nc.png,c' });
  await put({ '2_x/c.png': '', 'd.png': '', 'd.txt': 'd', '3_y.png': '', '3_y.txt': 'y' });
  const problems = new Problems();
  const { entries } = await listEntries(folder, 'text', problems, { folderRepeats: true });
  expect(problems.list).toEqual([]);
  const found = entries.map(({ path, caption, repeats }) => [path.slice(folder.length + 1), caption, repeats]);
  expect(found.sort()).toEqual([
    ['10_sks dog/a.png', 'sks dog', 10],
    ['10_sks dog/b.png', 'a dog', 10],
    ['2_x/c.png', 'c', 2],
    ['3_y.png', 'y', 1],
    ['d.png', 'd', 1],
  ]);
  // Where it is not asked for, a year is no number of times; but it is said that it may be.
  expect((await listed()).problems).toEqual(['1 images in . have no caption: 10_sks dog/a.png']);
  await put({ '10_sks dog/a.caption': 'a dog in kohya’s way' });
  const { entries: all, leftOut } = await listEntries(folder, 'text', problems);
  expect(all.map(({ path, caption, repeats }) => [path.slice(folder.length + 1), caption, repeats])).toContainEqual([
    '10_sks dog/a.png',
    'a dog in kohya’s way',
    undefined,
  ]);
  expect([problems.list, leftOut]).toEqual([
    [],
    [expect.stringMatching(/--folder_repeats \(folderRepeats\) reads (10_sks dog|2_x) as how often/)],
  ]);
});

test('what runs have written below the folder is nobody’s data; a run.json that is none of theirs does not matter', async () => {
  await put({
    'a.png': '',
    'a.txt': 'a',
    'out/run.json': '{"id":"1f","begun":"2026-11-30"}',
    'out/grid-0.png': '',
    'out/former-runs/b.png': '',
    'mine/run.json': '{"laps":3}',
    'mine/c.png': '',
    'mine/c.txt': 'c',
  });
  expect(await listed()).toEqual({ captions: { 'a.png': 'a', 'mine/c.png': 'c' }, leftOut: ['1 folders of runs: out'], problems: [] });
  // The folder that is asked for is read, whatever it is.
  await put({ 'run.json': '{"id":"2e"}' });
  expect((await listed()).captions).toEqual({ 'a.png': 'a', 'mine/c.png': 'c' });
});

test('where no captions are wanted every picture is taken', async () => {
  await put({ 'a.png': '', 'in/b.jpg': '', 'in/metadata.jsonl': '', '.c.png': '' });
  expect(await listed(null)).toEqual(fine({ 'a.png': '', 'in/b.jpg': '' }));
});
