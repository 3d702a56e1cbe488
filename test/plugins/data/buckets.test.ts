import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  type AnyPlugin,
  type Batch,
  COLLECTIVE,
  type Collective,
  compose,
  oneProcess,
  type Plugin,
  run,
  type Snapshot,
  Trainer,
} from '../../../core/index.js';
import { lora } from '../../../plugins/adapters/lora.js';
import { cachedLatents } from '../../../plugins/data/cached-latents.js';
import { type ImageFolderOptions, imageFolder } from '../../../plugins/data/image-folder.js';
import { wasm } from '../../../plugins/devices/wasm.js';
import { distributed } from '../../../plugins/distributed/distributed.js';
import { shardOfBatches } from '../../../plugins/distributed/sharding/shard.js';
import { accumulation } from '../../../plugins/gradients/accumulation.js';
import { textToImageModel } from '../../../plugins/models/text-to-image-model.js';
import { denoising } from '../../../plugins/objectives/denoising.js';
import { evaluation } from '../../../plugins/observe/evaluation.js';
import { adamw } from '../../../plugins/optimizers/adamw.js';
import { folder as filesIn } from '../../../plugins/persist/formats/folder.js';
import { constant } from '../../../plugins/schedules/constant.js';
import { relativeGap, tf, use as useDevice } from '../../support/devices.js';
import { linearModel, memoryStore, smallRun, squaredError } from '../../support/small-run.js';

let folder: string;
/** Widths and heights. Of 24 x 24 pixels, in steps of 8, they become 16 x 32, 24 x 24, 32 x 16 and, where they are small, less. */
const PICTURES = [
  [48, 24],
  [24, 48],
  [30, 30],
  [50, 26],
  [64, 33],
  [25, 24],
  [20, 20],
  [30, 60],
] as const;

beforeAll(async () => {
  await useDevice('wasm');
  folder = await mkdtemp(join(tmpdir(), 'steploom-buckets-'));
  for (const [i, [width, height]] of PICTURES.entries()) {
    const pixels = Uint8Array.from({ length: width * height * 3 }, (_, k) => (k * 37 * (i + 1)) % 256);
    await sharp(pixels, { raw: { width, height, channels: 3 } }).toFile(join(folder, `${i}.png`));
    await writeFile(join(folder, `${i}.txt`), 'the cat');
  }
});
afterAll(() => rm(folder, { recursive: true }));

const images = (more: Partial<ImageFolderOptions> = {}) =>
  imageFolder(folder, { batchSize: 2, resolution: 24, buckets: { step: 8 }, randomFlip: true, ...more });

/** What of a microBatch is noted, and what comes of a run. */
interface Seen extends Pick<Batch, 'epoch' | 'ids' | 'numbers'> {
  readonly shapes: readonly (readonly number[])[];
}

async function trained({ name = 'sd15', data = images() as AnyPlugin, steps = 8, window = 1, seed = 5, more = [] as AnyPlugin[] } = {}) {
  const seen: Seen[] = [];
  let weights: Record<string, number[]> = {};
  const note: Plugin = {
    name: 'note',
    apply(host) {
      host.hooks.onBatch.tap((batch) => {
        const { epoch, ids, numbers, tensors } = batch;
        seen.push({ epoch, ids, shapes: Object.values(tensors).map(({ shape }) => shape), ...(numbers ? { numbers } : {}) });
        return batch;
      });
      host.hooks.onEnd.tap(() => {
        const all = [...host.model().parameters].filter(([, { trainable }]) => trainable);
        weights = Object.fromEntries(all.map(([path, { variable }]) => [path, [...variable.dataSync()]]));
      });
    },
  };
  const trainer = new Trainer(
    compose(
      ...more.filter(({ name }) => ['pair', 'distributed'].includes(name)),
      run({ steps, learningRate: 1e-2, weightDecay: 0, seed }),
      wasm(),
      textToImageModel({
        from: filesIn(fileURLToPath(new URL(`../../fixtures/pipelines/${name}`, import.meta.url))),
        train: 'nothing',
      }),
      lora({ rank: 2 }),
      data,
      denoising(),
      adamw(),
      constant(),
      accumulation(window),
      note,
      ...more.filter(({ name }) => !['pair', 'distributed'].includes(name)),
    ),
    { warn: () => undefined },
  );
  const { plan } = await trainer.explain();
  await trainer.train();
  return { weights, seen, plan };
}

describe('pictures of several sizes', () => {
  test('come in batches of one size, each once in an epoch, with their own conditions; smaller ones are not enlarged', async () => {
    const { seen, plan } = await trained({ name: 'sdxl', steps: 10 });
    // Three of 32 x 16, two of 16 x 32, two of 24 x 24 and one of 16 x 16.
    expect([plan.items, plan.stepsPerEpoch]).toEqual([8, 5]);
    for (const { shapes, ids, numbers } of seen)
      for (const [i, id] of ids.entries()) {
        const [, h, w] = shapes[0];
        const [width, height] = PICTURES[id];
        expect([h, w]).toEqual(id === 6 ? [16, 16] : width > 1.5 * height ? [16, 32] : height > 1.5 * width ? [32, 16] : [24, 24]);
        const [fullHeight, fullWidth, top, left, targetHeight, targetWidth] = numbers?.timeIds?.[i] ?? [];
        expect([fullHeight, fullWidth, targetHeight, targetWidth]).toEqual([height, width, h, w]);
        expect(top >= 0 && left >= 0 && top + h <= Math.max(h, height) && left + w <= Math.max(w, width)).toBe(true);
      }
    for (const epoch of [0, 1]) {
      const ids = seen.filter((one) => one.epoch === epoch).flatMap(({ ids }) => ids);
      expect([...ids].sort()).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    }
    const [first, second] = [seen.slice(0, 5), seen.slice(5, 10)].map((epoch) => epoch.map(({ ids }) => ids));
    expect(first).not.toEqual(second);
    // The order follows from the seed alone.
    expect(first).toEqual([[5, 2], [1, 7], [4, 0], [3], [6]]);
  });

  test('a run that goes on in the middle of an epoch, in windows, learns the same bit for bit', async () => {
    const store = memoryStore(2);
    const whole = await trained({ steps: 5, window: 2, more: [store.plugin] });
    // Three windows an epoch.
    expect(whole.plan.stepsPerEpoch).toBe(3);
    const saved = { ...store.snapshots[0], runId: 'x' } as Snapshot;
    const rest = await trained({ steps: 5, window: 2, more: [memoryStore(100, saved).plugin] });
    expect(rest.seen.map(({ ids }) => ids)).toEqual(whole.seen.slice(4).map(({ ids }) => ids));
    expect(rest.weights).toEqual(whole.weights);
  });

  test('latents that are kept are the same; of whatever shape a picture is', async () => {
    const centred = () => images({ centerCrop: true });
    const held = () => evaluation(centred(), { every: 3 });
    const before = tf.memory().numTensors;
    const plain = await trained({ name: 'sdxl', data: centred(), more: [held()] });
    const cached = await trained({ name: 'sdxl', data: cachedLatents(centred()), more: [held()] });
    expect(cached.weights).toEqual(plain.weights);
    expect(tf.memory().numTensors).toBe(before);
  });

  test('a class’s pictures are batched by their sizes too, and weigh what they should', async () => {
    const dogs = await mkdtemp(join(tmpdir(), 'steploom-class-'));
    for (const name of ['class-0', 'class-1'])
      await sharp({ create: { width: 40, height: 40, channels: 3, background: 'red' } }).toFile(join(dogs, `${name}.png`));
    const prior = { folder: dogs, caption: 'a dog', count: 2, weight: 0.25 };
    const { seen, plan } = await trained({ steps: 6, data: images({ caption: 'a sks dog', prior }) });
    // Eight pairs: eight of the class, of 24 x 24, beside the two of this size.
    expect([plan.items, plan.batchSize, plan.stepsPerEpoch]).toEqual([16, 4, 6]);
    for (const { ids, numbers } of seen) expect(numbers?.weight).toEqual(ids.map((id) => [id < 8 ? 2 : 0.5]));
    expect(
      seen
        .flatMap(({ ids }) => ids)
        .sort((a, b) => a - b)
        .join(),
    ).toBe(Array.from({ length: 16 }, (_, i) => i).join());
    await rm(dogs, { recursive: true });
  });

  test('a model that takes no such sizes, and steps that it does not take, are named before training', async () => {
    await expect(trained({ data: images({ buckets: { step: 6 } }) })).rejects.toThrow(
      /OPTION_INVALID.*bucketStep is 6, and the model works on multiples of 4 pixels/,
    );
    await expect(trained({ data: images({ buckets: { step: 8, min: 25, max: 20 } }) })).rejects.toThrow(
      /bucketMin is 25, more than bucketMax/,
    );
    await expect(trained({ data: images({ buckets: { step: 24 } }) })).rejects.toThrow(
      /BAD_IMAGE.*6\.png has 20 x 20 pixels: no size of steps of 24/,
    );
    const other = smallRun({ steps: 1 }).with(images(), linearModel(), squaredError());
    await expect(new Trainer(other).train()).rejects.toThrow(/MODEL_UNFIT.*images of one size/);
  });
});

/** As many processes as are asked for, within this one. */
function together(worldSize: number): Collective[] {
  let waiting: { given: unknown; resolve: (all: unknown[]) => void }[] = [];
  const all = (given: unknown): Promise<unknown[]> =>
    new Promise((resolve) => {
      waiting.push({ given, resolve });
      if (waiting.length < worldSize) return;
      const [gathered, there] = [waiting.map((one) => one.given), waiting];
      waiting = [];
      for (const one of there) one.resolve(gathered);
    });
  return Array.from({ length: worldSize }, (_, rank) => {
    /** What each rank gave, in the order of ranks. */
    const of = async <T>(given: T): Promise<T[]> =>
      ((await all([rank, given])) as [number, T][]).sort((a, b) => a[0] - b[0]).map(([, value]) => value);
    return {
      ...oneProcess(),
      rank,
      worldSize,
      localRank: rank,
      localSize: worldSize,
      sum: async (value) => (await of(value)).reduce((sum, one) => sum + one, 0),
      max: async (value) => Math.max(...(await of(value))),
      async allReduce(arrays) {
        const copies = await of(arrays.map((array) => array.slice()));
        for (const [i, array] of arrays.entries())
          for (let k = 0; k < array.length; k++) array[k] = copies.reduce((sum, copy) => sum + copy[i][k], 0);
      },
      broadcast: async (bytes) => (await of(bytes))[0] ?? new Uint8Array(0),
      gather: (text) => of(text),
      barrier: async () => void (await of(null)),
    };
  });
}

describe('ranks', () => {
  const asRank = (collective: Collective): AnyPlugin[] => [
    { name: 'pair', fills: COLLECTIVE, ...collective } as AnyPlugin,
    distributed({ checkEvery: 1 }),
  ];

  test('share the batches: together they learn what one process does in windows of as many', async () => {
    const [zero, one] = await Promise.all(together(2).map((collective) => trained({ steps: 4, more: asRank(collective) })));
    const alone = await trained({ steps: 4, window: 2 });
    expect([zero.plan.stepsPerEpoch, one.plan.items, alone.plan.stepsPerEpoch]).toEqual([3, 8, 3]);
    expect(one.weights).toEqual(zero.weights);
    for (const [path, values] of Object.entries(alone.weights)) expect(relativeGap(zero.weights[path], values)).toBeLessThan(1e-4);
    // Five batches an epoch: in the third step the second rank has none.
    const [dealt, whole] = [[zero, one], [alone]].map((all) => all.flatMap(({ seen }) => seen.map(({ epoch, ids }) => `${epoch}: ${ids}`)));
    expect(dealt.sort()).toEqual(whole.sort());
    expect([zero.seen.length, one.seen.length]).toEqual([4, 3]);
  });

  test('each has a slice of every batch where batches are split', () => {
    const batches = [[1, 2, 3, 4], [5], [6, 7, 8]];
    const of = (rank: number, options = {}) => shardOfBatches(batches, { rank, worldSize: 2 }, options);
    expect([of(0, { splitBatches: true }), of(1, { splitBatches: true })]).toEqual([
      [[1, 2], [5], [6, 7]],
      [[3, 4], [], [8]],
    ]);
    expect([of(0), of(1), of(0, { dropLast: true })]).toEqual([[batches[0], batches[2]], [batches[1]], [batches[0]]]);
  });
});
