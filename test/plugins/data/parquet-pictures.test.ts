import { copyFile, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { compose, OBJECTIVE, type Plugin, run, type Source, seededRandom, Trainer } from '../../../core/index.js';
import * as tf from '../../../core/tf.js';
import type { PictureRow, PictureTables } from '../../../plugins/data/image-folder/table.js';
import { bufferedOrder } from '../../../plugins/data/order/buffered-order.js';
import { Pass } from '../../../plugins/data/parquet-pictures/rows.js';
import { type ParquetPicturesOptions, parquetPictures } from '../../../plugins/data/parquet-pictures.js';
import { cpu } from '../../../plugins/devices/cpu.js';
import { shardOf } from '../../../plugins/distributed/sharding/shard.js';
import { adamw } from '../../../plugins/optimizers/adamw.js';
import type { Files } from '../../../plugins/persist/formats/files.js';
import { folder } from '../../../plugins/persist/formats/folder.js';
import { hub } from '../../../plugins/persist/formats/hub.js';
import { hubServer } from '../../support/hub-server.js';
import { linearModel, memoryStore, stopAfter, weightsRecorder } from '../../support/small-run.js';

/** Three pictures, a red, a lime and a blue one, in groups of two and one. */
const TABLE = fileURLToPath(new URL('../../fixtures/pictures/dataset.parquet', import.meta.url));
const COPIES = 4;
const paths = Array.from({ length: COPIES }, (_, i) => `train-${i}.parquet`);
let place: string;
beforeAll(async () => {
  place = await mkdtemp(join(tmpdir(), 'steploom-tables-'));
  for (const path of paths) await copyFile(TABLE, join(place, path));
});
afterAll(() => rm(place, { recursive: true }));

const tables = (files: Files = folder(place)): PictureTables => ({ files, paths, imageColumn: 'image', captionColumn: 'text' });

/** What was shown, by microBatches: epoch, pictures and captions. */
function recorder() {
  const shown: { epoch: number; pictures: readonly string[]; texts: readonly string[] }[] = [];
  const plugin: Plugin = {
    name: 'shown',
    apply: ({ hooks }) =>
      hooks.onBatch.tap((batch) => {
        const { picture, text } = batch.strings ?? {};
        shown.push({ epoch: batch.epoch, pictures: picture.map((name) => name.slice(place.length + 1)), texts: text });
        // The first pixel tells the colour.
        const colours = (batch.tensors.images as tf.Tensor4D).arraySync().map(([[pixel]]) => pixel.map((x) => (x > 0 ? 1 : 0)).join(''));
        const names: Record<string, string> = { '100': 'red', '010': 'lime', '001': 'blue' };
        expect(text.map((caption, i) => caption.includes(names[colours[i]]))).toEqual(text.map(() => true));
        return batch;
      }),
  };
  return { plugin, shown };
}

const objective = (): Plugin => ({
  name: 'colour',
  fills: OBJECTIVE,
  loss: (context, model, { tensors, items }) => {
    const x = tf.mean(tensors.images, [1, 2]).slice([0, 0], [items, 2]);
    return tf.square(model.forward(context, { x })).mean() as tf.Scalar;
  },
});

const job = (options: Partial<ParquetPicturesOptions> = {}, from = tables()) =>
  compose(
    run({ learningRate: 0.05, epochs: 2, seed: 3 }),
    cpu(),
    linearModel(),
    parquetPictures(from, { batchSize: 2, resolution: 8, bufferSize: 4, ...options }),
    objective(),
    adamw(),
  );

/** The source of a job, and what frees it. */
async function opened(options?: Partial<ParquetPicturesOptions>, from?: PictureTables) {
  let source!: Source;
  const catching: Plugin = {
    name: 'catching',
    apply: ({ hooks }) =>
      hooks.prepareData.tap((found) => {
        source = found;
        return found;
      }),
  };
  const trainer = new Trainer(job(options, from).with(catching));
  await trainer.explain();
  return { source, close: () => trainer.dispose() };
}

test('each epoch shows every row once, in another order, and a second run the same', async () => {
  const [first, second] = [recorder(), recorder()];
  const { step } = await new Trainer(job().with(first.plugin)).train();
  expect(step).toBe(12);
  await new Trainer(job().with(second.plugin)).train();
  expect(second.shown).toEqual(first.shown);
  const ofEpoch = (epoch: number) => first.shown.filter((one) => one.epoch === epoch).flatMap(({ pictures }) => pictures);
  const all = paths.flatMap((path) => [1, 2, 3].map((row) => `${path}, row ${row}`));
  expect([...ofEpoch(0)].sort()).toEqual(all);
  expect([...ofEpoch(1)].sort()).toEqual(all);
  expect(ofEpoch(1)).not.toEqual(ofEpoch(0));

  const other = recorder();
  await new Trainer(job({ captionPrefix: 'art,', shuffleCaption: true, keepTokens: 0, maxSamples: 5 }).with(other.plugin)).train();
  expect(new Set(other.shown.flatMap(({ pictures }) => pictures))).toEqual(new Set(ofEpoch(0).slice(0, 5)));
  expect(other.shown[0].texts[0]).toMatch(/^art, a \w+ one$/);
});

test('a resumed run goes on bit for bit; with another buffer it does not', async () => {
  const [whole, wholeWeights] = [recorder(), weightsRecorder()];
  const store = memoryStore(4);
  await new Trainer(job().with(whole.plugin, wholeWeights.plugin, store.plugin)).train();
  const [rest, weights] = [recorder(), weightsRecorder()];
  await new Trainer(job().with(rest.plugin, weights.plugin, memoryStore(9, store.snapshots[0]).plugin)).train();
  expect(rest.shown).toEqual(whole.shown.slice(4));
  expect(weights.steps).toEqual(wholeWeights.steps.slice(4));
  await expect(new Trainer(job({ bufferSize: 5 }).with(memoryStore(9, store.snapshots[0]).plugin)).train()).rejects.toThrow(/bufferSize/);
});

test('ranks take different rows, each reads a group once, and the first batch reads few', async () => {
  const asked: string[] = [];
  const own = folder(place);
  const counting: Files = {
    ...own,
    range: (path, from, to) => {
      asked.push(`${path} ${from}`);
      return own.range(path, from, to);
    },
  };
  const seen: string[] = [];
  for (const rank of [0, 1]) {
    const { source, close } = await opened({ bufferSize: 2 }, tables(counting));
    const { ids } = shardOf(source.ids(0), source.batchSize, { rank, worldSize: 2 });
    asked.length = 0;
    for (let at = 0; at < ids.length; at += 2) {
      const batch = await source.load(ids.slice(at, at + 2), { epoch: 0, upcoming: [] });
      seen.push(...(batch.strings?.picture ?? []));
      tf.dispose(batch.tensors);
      if (at === 0) expect(asked.length).toBeLessThanOrEqual(4);
    }
    expect(new Set(asked).size).toBe(asked.length);
    await close();
  }
  expect(seen).toHaveLength(3 * COPIES);
  expect(new Set(seen).size).toBe(3 * COPIES);
});

test('of what was read only what is still to come is kept, that of other ranks until all have passed it', async () => {
  const group = (from: number) => ({
    path: 'x',
    table: {
      groups: [50],
      read: async () => Array.from({ length: 50 }, (_, i) => ({ bytes: Uint8Array.of(i), caption: String(from + i) })),
    },
    inTable: 0,
    fromInTable: 0,
    from,
    count: 50,
  });
  const groups = Array.from({ length: 20 }, (_, i) => group(50 * i));
  const random = seededRandom(1);
  const order = bufferedOrder(
    random,
    groups.map(({ from }) => Array.from({ length: 50 }, (_, i) => from + i)),
    30,
    0,
  );
  const rows = new Map<number, PictureRow>();
  const pass = new Pass(groups, order, 1000, rows);
  let most = 0;
  // Every second batch of 10 is another rank's.
  for (let at = 0; at < 1000; at += 20) {
    const ids = Array.from(order.slice(at, at + 10));
    pass.goOn(ids);
    for (const id of ids) expect((await pass.row(id)).caption).toBe(String(id));
    most = Math.max(most, rows.size);
  }
  // The buffer, a group, and what is between two batches.
  expect(most).toBeLessThanOrEqual(30 + 50 + 20);
});

describe('the order', () => {
  const groups = Array.from({ length: 100 }, (_, g) => Array.from({ length: 10 }, (_, i) => 10 * g + i));
  const order = (size: number, epoch = 0, seed = 7) => [...bufferedOrder(seededRandom(seed), groups, size, epoch)];

  test('is pure, has every row once, and is another one for each epoch and seed', () => {
    expect(order(50)).toEqual(order(50));
    expect([...order(50)].sort((a, b) => a - b)).toEqual(groups.flat());
    expect(order(50, 1)).not.toEqual(order(50));
    expect(order(50, 0, 8)).not.toEqual(order(50));
    expect([...order(5000)].sort((a, b) => a - b)).toEqual(groups.flat());
  });

  test('goes on from a buffer: without one group by group, and with one through few at a time', () => {
    const groupsIn = (rows: readonly number[]) => rows.map((row) => Math.floor(row / 10));
    expect(new Set(groupsIn(order(1).slice(0, 20))).size).toBe(2);
    const first = new Set(groupsIn(order(50).slice(0, 20)));
    expect(first.size).toBeGreaterThan(2);
    expect(first.size).toBeLessThanOrEqual(7);
  });
});

test('what cannot be read or decoded is named', async () => {
  await expect(opened({}, { ...tables(), captionColumn: 'words' })).rejects.toThrow(/DATA_INVALID.*train-0\.parquet has no column words/);
  await expect(opened({ bufferSize: 0 })).rejects.toThrow(/OPTION_INVALID.*bufferSize is 0/);
  const { source, close } = await opened({ maxPixels: 2 });
  await expect(source.load([4], { epoch: 0, upcoming: [5] })).rejects.toThrow(
    /BAD_IMAGE.*train-1\.parquet, row 2 has 6 x 4 pixels, more than 2/,
  );
  await close();
});

describe('of the hub', () => {
  async function served() {
    const content = await readFile(TABLE);
    const server = await hubServer('some/set', Object.fromEntries(paths.map((path) => [path, { content, large: true }])));
    const home = await mkdtemp(join(tmpdir(), 'steploom-streamed-'));
    const settings = { endpoint: server.endpoint, home, cache: join(home, 'hub'), offline: false };
    const files = hub('some/set', { kind: 'dataset', settings, streamed: true, pause: async () => undefined });
    const close = async () => {
      await server.close();
      await rm(home, { recursive: true });
    };
    return { server, home, files, close };
  }

  test('parts are read, over connections that break, and nothing is kept', async () => {
    const { server, home, files, close } = await served();
    let breaks = 3;
    server.insteadOfStore = (request, response) => {
      const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '') ?? [];
      if (breaks-- <= 0 || Number(to) - Number(from) < 40) return false;
      response.writeHead(206, { 'Content-Length': Number(to) + 1 - Number(from) });
      void readFile(TABLE).then((content) =>
        response.write(content.subarray(Number(from), Number(from) + 20), () => setTimeout(() => response.destroy(), 20)),
      );
      return true;
    };
    const { shown, plugin } = recorder();
    await new Trainer(job({}, tables(files)).with(plugin, stopAfter(6))).train();
    expect(shown.flatMap(({ pictures }) => pictures)).toHaveLength(12);
    expect(breaks).toBeLessThanOrEqual(0);
    expect(await readdir(join(home, 'hub', 'datasets--some--set'))).toEqual(['refs']);
    await close();
  });

  test('a server that gives no parts, or breaks off for good, is named', async () => {
    const { server, files, close } = await served();
    server.insteadOfStore = (_, response) => Boolean(response.end('all of it'));
    await expect(files.range('train-0.parquet', 4, 8)).rejects.toThrow(/HUB_FAILED.*train-0\.parquet gives no parts of it/);
    server.insteadOfStore = (_, response) => Boolean(response.writeHead(206).end());
    await expect(files.range('train-0.parquet', 4, 8)).rejects.toThrow(/HUB_FAILED.*breaks off at byte 4 of the part up to 8/);
    server.insteadOfStore = () => false;
    expect(await files.range('train-0.parquet', 0, 4)).toEqual(new TextEncoder().encode('PAR1'));
    // What is in the cache is not asked for.
    await files.whole(['train-0.parquet']);
    server.asked.length = 0;
    expect(await files.range('train-0.parquet', 0, 4)).toEqual(new TextEncoder().encode('PAR1'));
    expect(server.asked).toEqual([]);
    await close();
  });
});
