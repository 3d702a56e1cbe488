import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Problems } from '../../core/index.js';
import { listEntries } from '../../plugins/data/image-folder/entries.js';
import { dataFolder } from '../../presets/common/dataset.js';
import { captionedPictures } from '../../presets/common/diffusion-plugins.js';
import { parseOptions } from '../../presets/common/parse-options.js';
import { textToImageOptions } from '../../presets/text-to-image.js';
import { hubServer, type ServedFile } from '../support/hub-server.js';

const TABLE = fileURLToPath(new URL('../fixtures/pictures/dataset.parquet', import.meta.url));
let home: string;
beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'steploom-dataset-'));
  vi.stubEnv('HF_HOME', home);
  vi.spyOn(console, 'error').mockImplementation(() => undefined);
});
afterEach(async () => {
  vi.unstubAllEnvs();
  vi.restoreAllMocks();
  await rm(home, { recursive: true });
});

const placeOf = (given: object) => dataFolder(parseOptions('test', textToImageOptions, given));
const folderOf = async (given: object) => (await placeOf(given)).folder;
/** What stands in a folder of pictures: captions by the colour of the first pixel. */
async function contents(folder: string, column = 'text'): Promise<Record<string, string>> {
  const lines = (await readFile(join(folder, 'metadata.jsonl'), 'utf8')).split('\n').map((line) => JSON.parse(line));
  const pairs = lines.map(async (line) => {
    const { data } = await sharp(join(folder, line.file_name)).raw().toBuffer({ resolveWithObject: true });
    return [[...data.subarray(0, 3)].join(), line[column]];
  });
  return Object.fromEntries(await Promise.all(pairs));
}
const ALL = { '255,0,0': 'a red one', '0,255,0': 'a lime one', '0,0,255': 'a blue one' };

/** What a server has at the branch main of a data set. */
async function served(files: Readonly<Record<string, ServedFile>>, name = 'some/pictures') {
  const server = await hubServer(name, files);
  vi.stubEnv('HF_ENDPOINT', server.endpoint);
  return server;
}

test('a folder of tables is unpacked once, its training split alone; of lists of captions the first is taken', async () => {
  const put = async (name: string) => {
    await mkdir(dirname(join(home, 'set', name)), { recursive: true });
    await copyFile(TABLE, join(home, 'set', name));
  };
  await put('data/train-00000-of-00001.parquet');
  await put('data/test-00000-of-00001.parquet');
  const [folder, again] = await Promise.all([folderOf({ datasetName: join(home, 'set') }), folderOf({ datasetName: join(home, 'set') })]);
  expect(again).toBe(folder);
  expect(dirname(folder)).toBe(join(home, 'steploom', 'datasets'));
  expect(await readdir(dirname(folder))).toHaveLength(1);
  expect(await readdir(folder)).toEqual(['00000000.png', '00000001.png', '00000002.png', 'metadata.jsonl']);
  expect(await contents(folder)).toEqual(ALL);

  const given = { datasetName: join(home, 'set'), captionColumn: 'texts', cacheDir: join(home, 'cache') };
  const other = await folderOf(given);
  expect(dirname(other)).toBe(join(home, 'cache', 'datasets'));
  expect(await contents(other, 'texts')).toEqual({ '255,0,0': 'red 1', '0,255,0': 'lime 1', '0,0,255': 'blue 1' });

  await expect(folderOf({ ...given, imageColumn: 'picture' })).rejects.toThrow(
    /DATA_INVALID.*train-00000-of-00001\.parquet has no column picture, but image, text, texts, label.*imageColumn/,
  );
  await expect(folderOf({ ...given, imageColumn: 'label' })).rejects.toThrow(/in row 1 no picture under label/);
  await expect(folderOf({ ...given, captionColumn: 'label' })).rejects.toThrow(/in row 1 no text under label/);
  await writeFile(join(home, 'set', 'data', 'train-00000-of-00001.parquet'), 'PAR1');
  await expect(folderOf(given)).rejects.toThrow(/DATA_INVALID.*cannot be read/);
  expect(await readdir(join(home, 'cache', 'datasets'))).toHaveLength(1);
});

test('a folder without tables is a folder of pictures', async () => {
  expect(await folderOf({ datasetName: home })).toBe(home);
  expect(await folderOf({ trainDataDir: 'some' })).toBe('some');
});

/** What would be trained on: pictures by their names, with captions. */
async function trained(given: object): Promise<Record<string, string>> {
  const { folder, without } = await placeOf(given);
  const problems = new Problems();
  const { entries } = await listEntries(folder, 'text', problems, { without });
  expect(problems.list).toEqual([]);
  return Object.fromEntries(entries.map(({ path, caption }) => [relative(folder, path), caption]));
}
const captions = (...names: string[]) =>
  Buffer.from(names.map((name) => JSON.stringify({ file_name: name, text: `of ${name}` })).join('\n'));

test('of a folder of pictures the training split of a configuration is taken, with the captions that stand above it', async () => {
  const set = join(home, 'set');
  const put = async (files: Record<string, Buffer | string>) => {
    await rm(set, { recursive: true, force: true });
    for (const [name, content] of Object.entries(files)) {
      await mkdir(dirname(join(set, name)), { recursive: true });
      await writeFile(join(set, name), content);
    }
  };
  await put({ 'train/a.png': '', 'train/a.caption': 'one', 'test/b.png': '', 'test/b.txt': 'two' });
  expect(await trained({ datasetName: set })).toEqual({ 'a.png': 'one' });
  expect(vi.mocked(console.error).mock.calls).toEqual([
    [expect.stringMatching(/set: 1 of 2 pictures are taken, as those of the training split/)],
  ]);
  await put({ 'metadata.jsonl': captions('train/a.png', 'test/b.png'), 'train/a.png': '', 'test/b.png': '' });
  expect(await trained({ datasetName: set })).toEqual({ 'train/a.png': 'of train/a.png' });
  await put({ 'metadata.jsonl': captions('x/train/a.png', 'y/b.png'), 'x/train/a.png': '', 'x/valid/c.png': '', 'y/b.png': '' });
  expect(await trained({ datasetName: set, datasetConfigName: 'x' })).toEqual({ 'x/train/a.png': 'of x/train/a.png' });
  await expect(trained({ datasetName: set, datasetConfigName: 'z' })).rejects.toThrow(
    /DATA_INVALID.*set has no \.parquet files and no pictures of the configuration z/,
  );
  await put({ 'train/10_dog/a.png': '', 'train/10_dog/a.txt': 'one' });
  expect(await trained({ datasetName: set })).toEqual({ '10_dog/a.png': 'one' });
  // A picture's own name says no split.
  await put({ 'a train.png': '', 'a train.txt': 'one', 'a test.png': '', 'a test.txt': 'two' });
  vi.mocked(console.error).mockClear();
  const both = { 'a test.png': 'two', 'a train.png': 'one' };
  expect([await trained({ datasetName: set }), await trained({ datasetName: set, datasetConfigName: 'default' })]).toEqual([both, both]);
  expect(console.error).not.toHaveBeenCalled();
});

test('a data set of the hub: tables of a configuration, pictures, and what the hub made tables of', async () => {
  const table = { content: await readFile(TABLE), large: true };
  const red = await sharp({ create: { width: 4, height: 4, channels: 3, background: 'red' } })
    .png()
    .toBuffer();
  let server = await served({ 'one/train.parquet': table, 'two/train.parquet': { content: Buffer.from('no table') } });
  expect(await contents(await folderOf({ datasetName: 'some/pictures', datasetConfigName: 'one' }))).toEqual(ALL);
  expect(server.asked.filter((path) => path.includes('two/'))).toEqual([]);
  await server.close();

  server = await served({
    'README.md': { content: Buffer.from('#') },
    'train/metadata.jsonl': { content: Buffer.from('{"file_name": "a.png", "text": "a red one"}') },
    'train/a.png': { content: red, large: true },
    'test/b.png': { content: red, large: true },
  });
  const folder = await folderOf({ datasetName: 'some/pictures' });
  expect([basename(folder), (await readdir(folder)).sort()]).toEqual(['train', ['a.png', 'metadata.jsonl']]);
  await server.close();

  const [one, two, three] = ['train/a.png', 'test/b.png', 'train/x/c.png'];
  server = await served({
    'metadata.jsonl': { content: captions(one, two, three) },
    'other/metadata.jsonl': { content: captions('none.png') },
    ...Object.fromEntries([one, two, three].map((name) => [name, { content: red, large: true }])),
  });
  await rm(join(home, 'hub'), { recursive: true });
  const asked = (name: string) => server.asked.some((path) => path.endsWith(name));
  expect(await trained({ datasetName: 'some/pictures' })).toEqual({ [one]: `of ${one}`, [three]: `of ${three}` });
  expect([asked(two), asked('other/metadata.jsonl')]).toEqual([false, false]);
  expect(await trained({ datasetName: 'some/pictures', datasetConfigName: 'x' })).toEqual({ [three]: `of ${three}` });
  await server.close();

  server = await served({ 'script.py': { content: Buffer.from('') } });
  server.instead = (_, response, { pathname }) =>
    pathname.includes('convert') && Boolean(response.writeHead(404, { 'X-Error-Code': 'RevisionNotFound' }).end());
  await expect(folderOf({ datasetName: 'some/pictures' })).rejects.toThrow(
    /DATA_INVALID.*no \.parquet files and no pictures\. Give another/,
  );
  await server.close();

  server = await served({ 'train.parquet': table }, 'pictures-of-old');
  expect(await contents(await folderOf({ datasetName: 'pictures-of-old' }))).toEqual(ALL);
  await expect(folderOf({ datasetName: 'a/b/c' })).rejects.toThrow(/OPTION_INVALID.*there is no folder a\/b\/c/);
  await server.close();

  // A table whose name ends as that of metadata.
  server = await served({ 'train/my_metadata.parquet': table });
  expect(await contents(await folderOf({ datasetName: 'some/pictures' }))).toEqual(ALL);
  await server.close();

  server = await served({ 'default/train/0000.parquet': table, 'script.py': { content: Buffer.from('') } });
  const { instead } = server;
  server.instead = (request, response, url) => {
    const empty = 'a'.repeat(40);
    if (url.pathname.endsWith('/revision/main')) response.end(JSON.stringify({ sha: empty, lastModified: '2026-01-01' }));
    else if (url.pathname.endsWith(`/tree/${empty}`)) response.end('[]');
    else return instead(request, response, url);
    return true;
  };
  expect(await contents(await folderOf({ datasetName: 'some/pictures' }))).toEqual(ALL);
  await expect(folderOf({ datasetName: 'some/pictures', datasetConfigName: 'none' })).rejects.toThrow(
    /DATA_INVALID.*no \.parquet files and no pictures of the configuration none/,
  );
  await server.close();
});

test('tables are streamed from where they are; what would need all pictures before is refused', async () => {
  const streamed = (given: object) => {
    const wanted = { streaming: true, ...given };
    return captionedPictures(parseOptions('test', textToImageOptions, wanted), wanted);
  };
  await copyFile(TABLE, join(home, 'a.parquet'));
  const found = await streamed({ datasetName: home, shuffleBufferSize: 7, maxTrainSamples: 2, captionColumn: 'texts' });
  expect(found).toMatchObject({
    tables: { paths: ['a.parquet'], imageColumn: 'image', captionColumn: 'texts' },
    options: { bufferSize: 7, maxSamples: 2 },
  });
  await expect(streamed({ datasetName: home, cacheLatents: true, folderRepeats: true, skipBadImages: false })).rejects.toThrow(
    /OPTION_INVALID.*cacheLatents, folderRepeats would need all of them before/,
  );
  expect(await streamed({ trainDataDir: home })).toMatchObject({ folder: home });

  const red = await sharp({ create: { width: 4, height: 4, channels: 3, background: 'red' } })
    .png()
    .toBuffer();
  let server = await served({ 'train/a.png': { content: red } });
  await expect(streamed({ datasetName: 'some/pictures' })).rejects.toThrow(/DATA_INVALID.*has no \.parquet files\. /);
  await server.close();
  server = await served({ 'train.parquet': { content: await readFile(TABLE), large: true } });
  expect(await streamed({ datasetName: 'some/pictures' })).toMatchObject({ tables: { paths: ['train.parquet'] } });
  expect(server.asked.filter((asked) => asked.startsWith('store'))).toEqual([]);
  await server.close();
  await rm(join(home, 'a.parquet'));
  await expect(streamed({ datasetName: home })).rejects.toThrow(/DATA_INVALID.*has no \.parquet files.*Leave streaming out/);
});

test('there is one place that pictures come from', () => {
  const parsed = (given: object) => () => parseOptions('test', textToImageOptions, given);
  expect(parsed({ seed: 'x' })).toThrow(/seed is "x"(.|\n)*OPTION_MISSING.*trainDataDir is missing/);
  expect(parsed({ trainDataDir: 'a', datasetName: 'b' })).toThrow(/OPTION_INVALID.*datasetName is "b": train_data_dir is given, too/);
  expect(parsed({ trainDataDir: 'a' })).not.toThrow();
});
