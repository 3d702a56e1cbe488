import { beforeAll, expect, test } from 'vitest';
import { type Batch, makeContext, seededRandom, weightsOf } from '../../../core/index.js';
import * as tf from '../../../core/tf.js';
import { buildTextToImage } from '../../../plugins/models/stable-diffusion/build.js';
import type { TextToImage } from '../../../plugins/models/stable-diffusion/text-to-image.js';
import { denoising } from '../../../plugins/objectives/denoising.js';
import { ddim } from '../../../plugins/samplers/ddim.js';
import { sampleImages } from '../../../plugins/samplers/walk/sample-images.js';
import { use } from '../../support/devices.js';
import { smallModel } from '../../support/small-model.js';

let model: TextToImage;
beforeAll(async () => {
  await use('wasm');
  const base = smallModel(['red', 'heart'], 0);
  model = await buildTextToImage(
    { from: { ...base, unet: { ...base.unet, block_out_channels: [4, 8, 8], norm_num_groups: 2, sample_size: 8 } }, train: 'nothing' },
    seededRandom(1),
  );
});

const pixels = (id: number) => Float32Array.from({ length: 16 * 16 * 3 }, (_, i) => Math.sin(i + 10 * id));
const batchOf = (...ids: number[]): Batch => ({
  items: ids.length,
  ids,
  epoch: 0,
  tensors: { images: tf.concat(ids.map((id) => tf.tensor4d(pixels(id), [1, 16, 16, 3]))) },
  strings: { text: ids.map((id) => (id % 2 ? 'red' : 'heart')) },
});
const context = (mode: 'train' | 'evaluate' = 'evaluate') =>
  makeContext(model, { mode, parameters: weightsOf(model), draw: (name, id) => seededRandom(7).item(name, 0, id) });
/** A stand-in whose prediction is known. */
const predicting = (kind: 'epsilon' | 'v_prediction' | 'sample', predict: TextToImage['predict']): TextToImage => ({
  ...model,
  noise: { ...model.noise, config: { ...model.noise.config, prediction_type: kind } },
  predict,
});

test('the loss is the mean squared error to noise, v or image, at the noise level of t', () => {
  const t = 400;
  const abar = model.noise.alphasCumprod[t];
  const batch = batchOf(3);
  const x0 = model.codec.encode(context(), batch.tensors.images as tf.Tensor4D, batch.ids);
  const noise = tf.tensor(seededRandom(7).item('noise', 0, 3).normals(new Float32Array(x0.size)), x0.shape);
  const targets = { epsilon: noise, v_prediction: noise.mul(Math.sqrt(abar)).sub(x0.mul(Math.sqrt(1 - abar))), sample: x0 };
  for (const [kind, target] of Object.entries(targets)) {
    let seen!: tf.Tensor;
    const half = predicting(kind as 'epsilon', (_, noisy, timesteps) => {
      expect(timesteps).toEqual([t]);
      seen = tf.keep(noisy.clone());
      return target.mul(0.5) as tf.Tensor4D;
    });
    const loss = tf.tidy(() => denoising().lossAt(context(), half, batch, t)).dataSync()[0];
    expect(loss).toBeCloseTo(0.25 * target.square().mean().dataSync()[0], 4);
    const expected = x0.mul(Math.sqrt(abar)).add(noise.mul(Math.sqrt(1 - abar)));
    expect(seen.sub(expected).abs().max().dataSync()[0]).toBeLessThan(1e-5);
  }
});

test('an example draws the same noise and t in any batch; the mean is over items', () => {
  const loss = (...ids: number[]) => tf.tidy(() => denoising({ noiseOffset: 0.1 }).lossAt(context(), model, batchOf(...ids))).dataSync()[0];
  const [one, two, both] = [loss(1), loss(2), loss(2, 1)];
  expect(one).not.toBeCloseTo(two, 3);
  expect(both).toBeCloseTo((one + two) / 2, 4);
});

test('min-SNR weights the examples', () => {
  const t = 100;
  const abar = model.noise.alphasCumprod[t];
  const snr = abar / (1 - abar);
  const loss = (gamma?: number) => tf.tidy(() => denoising({ snrGamma: gamma }).lossAt(context(), model, batchOf(1), t)).dataSync()[0];
  expect(loss(5)).toBeCloseTo((loss() * Math.min(snr, 5)) / (snr + 1), 4);
});

test('examples count as often as their weights say, beside those of min-SNR', () => {
  const loss = (snrGamma: number | undefined, weight: number[][] | null, ...ids: number[]) =>
    tf
      .tidy(() => denoising({ snrGamma }).lossAt(context(), model, { ...batchOf(...ids), ...(weight ? { numbers: { weight } } : {}) }, 100))
      .dataSync()[0];
  for (const gamma of [undefined, 5])
    expect(loss(gamma, [[2], [0.5]], 1, 2)).toBeCloseTo((2 * loss(gamma, null, 1) + 0.5 * loss(gamma, null, 2)) / 2, 4);
});

test('a mask weighs latents, beside the weights of examples and of min-SNR', () => {
  const t = 100;
  const abar = model.noise.alphasCumprod[t];
  const snr = abar / (1 - abar);
  // What is predicted and what should be are known: 0, and the example's noise.
  const nothing = predicting('epsilon', (_, noisy) => tf.zerosLike(noisy));
  const [h, w, c] = [8, 8, 4];
  const masks = [0, 1].map((i) => Float32Array.from({ length: h * w }, (_, k) => (i === 0 ? (k % 5) / 4 : k < 20 ? 1 : 0)));
  const mask = tf.tensor4d(Float32Array.from([...masks[0], ...masks[1]]), [2, h, w, 1]);
  const batch = batchOf(1, 2);
  const loss = (more: object, objective = denoising()) =>
    tf.tidy(() => objective.lossAt(context(), nothing, { ...batch, tensors: { ...batch.tensors, mask }, ...more }, t)).dataSync()[0];
  const each = [1, 2].map((id, i) => {
    const noise = seededRandom(7)
      .item('noise', 0, id)
      .normals(new Float32Array(h * w * c));
    return noise.reduce((sum, x, k) => sum + masks[i][Math.floor(k / c)] * x * x, 0) / (h * w * c);
  });
  expect(loss({})).toBeCloseTo((each[0] + each[1]) / 2, 5);
  const weighed = loss({ numbers: { weight: [[2], [0.5]] } }, denoising({ snrGamma: 5 }));
  expect(weighed).toBeCloseTo(((2 * each[0] + 0.5 * each[1]) / 2) * (Math.min(snr, 5) / snr), 5);
});

test('captions are dropped in training only, by example', () => {
  const texts: (string | null)[][] = [];
  const spy: TextToImage = {
    ...model,
    encode(c, given) {
      texts.push([...given]);
      return model.encode(c, given);
    },
  };
  const ids = Array.from({ length: 40 }, (_, i) => i);
  for (const mode of ['train', 'train', 'evaluate'] as const)
    tf.tidy(() => denoising({ captionDropout: 0.5 }).lossAt(context(mode), spy, batchOf(...ids)));
  const empty = texts.map((list) => list.filter((text) => text === '').length);
  expect(empty[0]).toBeGreaterThan(8);
  expect(empty[0]).toBeLessThan(32);
  expect(texts[1]).toEqual(texts[0]);
  expect(empty[2]).toBe(0);
});

test('sampling starts from the same noise whatever the batch size, and guidance of 1 needs no empty caption', async () => {
  const draw = (batchSize: number, guidance: number) =>
    sampleImages(model, weightsOf(model), seededRandom(2), ['red', 'heart', 'red'], {
      sampler: ddim({ eta: 0.5 }),
      steps: 3,
      guidance,
      batchSize,
    });
  const [whole, single] = [await draw(3, 1), await draw(1, 1)];
  expect(whole.shape).toEqual([3, 16, 16, 3]);
  for (const [i, x] of whole.data.entries()) expect(Math.abs(single.data[i] - x)).toBeLessThan(1e-4);
  expect((await draw(3, 2)).data).not.toEqual(whole.data);
  expect(Math.max(...whole.data)).toBeLessThanOrEqual(1);
});
