import { beforeAll, describe, expect, test } from 'vitest';
import { seededRandom, weightsOf } from '../../../core/index.js';
import { buildTextToImage } from '../../../plugins/models/stable-diffusion/build.js';
import type { TextToImage } from '../../../plugins/models/stable-diffusion/text-to-image.js';
import { ddim } from '../../../plugins/samplers/ddim.js';
import { euler } from '../../../plugins/samplers/euler.js';
import { eulerAncestral } from '../../../plugins/samplers/euler-ancestral.js';
import { columnsOf, picturesOf, sampleImages } from '../../../plugins/samplers/walk/sample-images.js';
import type { SampleOptions } from '../../../plugins/samplers/walk/sample-options.js';
import { relativeGap, tf, use } from '../../support/devices.js';
import { smallModel } from '../../support/small-model.js';

let model: TextToImage;
beforeAll(async () => {
  await use('cpu');
  const fresh = smallModel(['red', 'heart'], 1);
  const unet = { ...fresh.unet, block_out_channels: [4, 4, 4], norm_num_groups: 2, sample_size: 4 };
  model = await buildTextToImage({ from: { ...fresh, unet }, train: 'nothing' }, seededRandom(1));
});

/** Draws, and looks that nothing is left over. */
async function draw(prompts: readonly string[], options: Partial<SampleOptions> = {}) {
  const before = tf.memory().numTensors;
  const drawn = await sampleImages(model, weightsOf(model), seededRandom(2), prompts, {
    sampler: euler(),
    steps: 3,
    guidance: 3,
    ...options,
  });
  expect(tf.memory().numTensors).toBe(before);
  return { ...drawn, pictures: picturesOf(drawn) };
}

describe('several images a prompt', () => {
  test('stand side by side, and the first is the one that is drawn alone', async () => {
    for (const sampler of [ddim({ eta: 1 }), eulerAncestral()]) {
      const alone = await draw(['red', 'heart'], { sampler });
      const many = await draw(['red', 'heart'], { sampler, imagesPerPrompt: 3, batchSize: 2 });
      expect(many.shape).toEqual([6, 8, 8, 3]);
      expect(relativeGap(many.pictures[0], alone.pictures[0])).toBeLessThan(1e-5);
      expect(relativeGap(many.pictures[3], alone.pictures[1])).toBeLessThan(1e-5);
      expect(relativeGap(many.pictures[1], many.pictures[0])).toBeGreaterThan(1e-2);
    }
  });

  test('are rows of a grid', () => {
    expect([columnsOf(3), columnsOf(20), columnsOf(3, 4), columnsOf(1, 20)]).toEqual([3, 8, 4, 8]);
  });
});

test('sizes other than the model’s own, odd ones in latents too', async () => {
  expect((await draw(['red'], { height: 6, width: 14 })).shape).toEqual([1, 6, 14, 3]);
  expect((await draw(['red'], { width: 2 })).shape).toEqual([1, 8, 2, 3]);
});

test('how many are drawn at once follows from their size', async () => {
  const batches: number[] = [];
  const spy: TextToImage = {
    ...model,
    encode(context, texts) {
      batches.push(texts.length);
      return model.encode(context, texts);
    },
    predict: (_, latents) => latents.mul(0.5),
    codec: { ...model.codec, decode: (_, { shape: [n, h, w] }) => tf.zeros([n, 2 * h, 2 * w, 3]) },
  };
  const options = { sampler: ddim(), steps: 1, guidance: 1, height: 128, width: 128 };
  await sampleImages(spy, weightsOf(model), seededRandom(2), ['red', 'heart', 'red', ''], options);
  expect(batches).toEqual([3, 1]);
  await sampleImages(spy, weightsOf(model), seededRandom(2), ['red', 'heart'], { ...options, height: 256, width: 256 });
  expect(batches.slice(2)).toEqual([1, 1]);
});

describe('negative prompts', () => {
  test('stand for what guidance leads away from', async () => {
    const plain = await draw(['red', 'heart'], { guidance: 1 });
    const same = await draw(['red', 'heart'], { negativePrompt: ['red', 'heart'], guidanceRescale: 0.7 });
    expect(relativeGap(same.data, plain.data)).toBeLessThan(1e-4);
    const none = await draw(['red', 'heart']);
    const empty = await draw(['red', 'heart'], { negativePrompt: '' });
    expect(empty.data).toEqual(none.data);
    const one = await draw(['red', 'heart'], { negativePrompt: 'heart' });
    expect(relativeGap(one.pictures[0], none.pictures[0])).toBeGreaterThan(1e-3);
    expect(relativeGap(one.pictures[1], plain.pictures[1])).toBeLessThan(1e-4);
  });

  test('without one the model is asked for no text at all', async () => {
    const asked: (string | null)[][] = [];
    const spy: TextToImage = {
      ...model,
      encode(context, texts) {
        asked.push([...texts]);
        return model.encode(context, texts);
      },
    };
    const options = { sampler: ddim(), steps: 1, guidance: 2 };
    await sampleImages(spy, weightsOf(model), seededRandom(2), ['red'], options);
    await sampleImages(spy, weightsOf(model), seededRandom(2), ['red'], { ...options, negativePrompt: '' });
    expect(asked).toEqual([
      [null, 'red'],
      ['', 'red'],
    ]);
  });
});

test('guidance rescale changes what is drawn', async () => {
  const [none, some] = [await draw(['red']), await draw(['red'], { guidanceRescale: 0.7 })];
  expect(relativeGap(some.data, none.data)).toBeGreaterThan(1e-4);
});

test.each<[Partial<SampleOptions>, RegExp]>([
  [{ height: 7 }, /height is 7, and the model draws in blocks of 2 x 2 pixels.*Give a multiple of 2/],
  [{ width: 0 }, /width is 0.*from 2 to 16384/],
  [{ width: 1e9 }, /width is 1000000000/],
  [{ imagesPerPrompt: 0 }, /imagesPerPrompt is 0/],
  [{ batchSize: 0 }, /batchSize is 0/],
  [{ steps: 0 }, /steps is 0/],
  [{ guidance: Number.NaN }, /guidance is NaN/],
  [{ guidanceRescale: 1.5 }, /guidanceRescale is 1.5/],
  [{ negativePrompt: ['a', 'b', 'c'] }, /3 negative prompts are given for 2 prompts/],
  [{ guidance: 1, negativePrompt: 'a' }, /a negative prompt is given, but guidance is 1/],
  [{ guidance: 1, guidanceRescale: 0.5 }, /guidanceRescale is given, but guidance is 1/],
])('%j is refused', async (options, message) => {
  await expect(draw(['red', 'heart'], options)).rejects.toThrow(message);
});
