import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type AnyPlugin, compose, type Plugin, run, type Source, Trainer } from '../../../core/index.js';
import { lora } from '../../../plugins/adapters/lora.js';
import { cachedLatents } from '../../../plugins/data/cached-latents.js';
import { type ImageFolderOptions, imageFolder } from '../../../plugins/data/image-folder.js';
import { wasm } from '../../../plugins/devices/wasm.js';
import { textToImageModel } from '../../../plugins/models/text-to-image-model.js';
import { denoising } from '../../../plugins/objectives/denoising.js';
import { adamw } from '../../../plugins/optimizers/adamw.js';
import { folder as filesIn } from '../../../plugins/persist/formats/folder.js';
import { constant } from '../../../plugins/schedules/constant.js';
import { tf, use as useDevice } from '../../support/devices.js';
import { smallRun } from '../../support/small-run.js';

let folder: string;
const shade = (x: number, y: number) => (11 * x + 5 * y) % 256;
const pixels = (width: number, height: number, alpha: (x: number, y: number) => number) =>
  Uint8Array.from({ length: width * height * 4 }, (_, i) => {
    const [x, y] = [Math.floor(i / 4) % width, Math.floor(i / 4 / width)];
    return i % 4 === 0 ? 255 : i % 4 === 3 ? alpha(x, y) : 0;
  });
const write = async (name: string, width: number, height: number, alpha: (x: number, y: number) => number) => {
  await sharp(pixels(width, height, alpha), { raw: { width, height, channels: 4 } }).toFile(join(folder, `${name}.png`));
  await writeFile(join(folder, `${name}.txt`), 'the cat');
};

beforeAll(async () => {
  await useDevice('wasm');
  folder = await mkdtemp(join(tmpdir(), 'steploom-mask-'));
  await write('square', 16, 16, shade);
  await write('wide', 32, 16, (x) => (x < 20 ? 255 : 0));
  await sharp({ create: { width: 16, height: 16, channels: 3, background: 'blue' } }).toFile(join(folder, 'opaque.png'));
  await writeFile(join(folder, 'opaque.txt'), 'art');
});
afterAll(() => rm(folder, { recursive: true }));

const images = (more: Partial<ImageFolderOptions> = {}) => imageFolder(folder, { batchSize: 2, resolution: 16, alphaMask: true, ...more });

/** Trains, and gives what was learnt; `look` sees the source. */
async function trained(data: AnyPlugin, look: (source: Source) => Promise<void> = async () => undefined, said: string[] = []) {
  let weights: number[][] = [];
  let source!: Source;
  const plugin: Plugin = {
    name: 'look',
    apply(host) {
      host.hooks.prepareData.tap((given) => (source = given));
      host.hooks.onStart.tapPromise(() => look(source));
      host.hooks.onEnd.tap(() => {
        weights = [...host.model().parameters.values()].filter((p) => p.trainable).map(({ variable }) => [...variable.dataSync()]);
      });
    },
  };
  const from = filesIn(fileURLToPath(new URL('../../fixtures/pipelines/sd15', import.meta.url)));
  const composition = compose(
    run({ steps: 3, learningRate: 1e-2, weightDecay: 0, seed: 3 }),
    wasm(),
    textToImageModel({ from, train: 'nothing' }),
    lora({ rank: 2 }),
    data,
    denoising({ snrGamma: 5 }),
    adamw(),
    constant(),
    plugin,
  );
  await new Trainer(composition, { warn: (what) => said.push(what) }).train();
  return weights;
}

test('the mask is the mean alpha of the pixels of each latent, cut and mirrored as the picture is; 1 where a picture has none', async () => {
  let seen = 0;
  await trained(images({ randomFlip: true, background: 'black' }), async (source) => {
    for (let epoch = 0; epoch < 6; epoch++) {
      // By the order of their letters: opaque, square, wide.
      const { tensors, numbers } = await source.load([1, 2, 0], { epoch, upcoming: [] });
      expect(tensors.mask.shape).toEqual([3, 8, 8, 1]);
      const [mask, image] = [tensors.mask, tensors.images].map((tensor) => tensor.dataSync());
      const left = numbers?.timeIds?.[1][3] as number;
      let mirrored = true;
      for (let y = 0; y < 8; y++)
        for (let x = 0; x < 8; x++) {
          const at = (which: number) => mask[which * 64 + y * 8 + x];
          // All of it is red: on black, red is what is opaque.
          const corner = [0, 1].flatMap((dy) => [0, 1].map((dx) => (image[((2 * y + dy) * 16 + 2 * x + dx) * 3] + 1) / 2));
          expect(at(0)).toBeCloseTo(corner.reduce((a, b) => a + b) / 4, 2);
          if (x === 0 && y === 0) mirrored = corner[0] > corner[1];
          expect(at(2)).toBe(1);
          // Of the 32 columns the first 20 are opaque.
          const opaque = (column: number) => (column < 20 ? 1 : 0);
          const plain = [0, 1].map((dx) => left + 2 * x + dx);
          const turned = plain.map((column) => 31 - column);
          const means = [plain, turned].map((columns) => columns.reduce((sum, column) => sum + opaque(column), 0) / 2);
          expect(means.some((mean) => Math.abs(mean - at(1)) < 1e-6)).toBe(true);
        }
      if (mirrored) seen++;
      tf.dispose(tensors);
    }
  });
  expect(seen).toBeGreaterThan(0);
  expect(seen).toBeLessThan(6);
});

test('it is kept with latents, and changes what is learnt; with sizes, and a class', async () => {
  const dogs = await mkdtemp(join(tmpdir(), 'steploom-class-'));
  await sharp({ create: { width: 16, height: 16, channels: 3, background: 'red' } }).toFile(join(dogs, 'a.png'));
  for (const more of [{}, { buckets: { step: 8 }, caption: 'the cat', prior: { folder: dogs, caption: 'art', count: 1, weight: 0.5 } }]) {
    const options = { ...more, centerCrop: true, randomFlip: true };
    const before = tf.memory().numTensors;
    const plain = await trained(images(options));
    const kept = () => cachedLatents(images(options), { files: filesIn(join(dogs, 'cache')) });
    expect(await trained(kept())).toEqual(plain);
    // Found in the files.
    expect(await trained(kept())).toEqual(plain);
    expect(tf.memory().numTensors).toBe(before);
    expect(await trained(images({ ...options, alphaMask: false }))).not.toEqual(plain);
  }
  await rm(dogs, { recursive: true });
});

test('a picture that is transparent everywhere is named before training, or left out; so are pictures without alpha at all', async () => {
  await write('clear', 16, 16, () => 0);
  await expect(trained(images())).rejects.toThrow(/BAD_IMAGE.*clear\.png is transparent everywhere/);
  const said: string[] = [];
  await trained(images({ skipBadImages: true }), undefined, said);
  expect(said).toEqual([expect.stringMatching(/1 images are left out: .*clear\.png is transparent everywhere/)]);
  for (const name of ['clear', 'square', 'wide']) await rm(join(folder, `${name}.png`));
  said.length = 0;
  await trained(images(), undefined, said);
  expect(said).toEqual([expect.stringMatching(/no image of .* has an alpha channel: alphaMask changes nothing/)]);
  await expect(new Trainer(smallRun({ steps: 1 }).with(images())).train()).rejects.toThrow(
    /MODEL_UNFIT.*alphaMask weighs the loss of latents/,
  );
});
