import { afterEach, describe, expect, test } from 'vitest';
import { backward, makeContext, seededRandom, type TensorData, type Tensors, weightsOf } from '../../../../core/index.js';
import { attention, attentionBySlices } from '../../../../plugins/devices/compute/attention.js';
import { makeParameters } from '../../../../plugins/models/layers/parameters.js';
import { type AutoencoderKLOptions, autoencoderKL } from '../../../../plugins/models/vae/autoencoder-kl.js';
import { requireFiniteLatents } from '../../../../plugins/models/vae/finite-latents.js';
import type { StoredTensor } from '../../../../plugins/persist/formats/stored-tensors.js';
import { todaysName } from '../../../../plugins/persist/formats/todays-names.js';
import { relativeGap, testDevices, tf, use } from '../../../support/devices.js';
import { fixtureJson, fixtureTensors, fixtureWeights, toNCHW, toNHWC } from '../../../support/fixtures.js';

const random = seededRandom(0);

/** vae-tiny, with other options, and a context that draws from a seed. */
async function tiny(config: object = {}, options: AutoencoderKLOptions = {}) {
  const vae = autoencoderKL({ ...(await fixtureJson('vae-tiny/config.json')), ...config }, 'vae.', options);
  const all = await fixtureWeights('vae-tiny/diffusion_pytorch_model.safetensors', 'vae.');
  const tensors = new Map(vae.specs.map(({ path }) => [path, all.get(path) as StoredTensor]));
  const parameters = await makeParameters(vae.specs, { trainable: false, group: 'vae', random, tensors });
  const model = { parameters, modules: vae.modules, wraps: new Map(), forward: () => tf.scalar(0) };
  const context = makeContext(model, { mode: 'evaluate', parameters: weightsOf(model), draw: (name, id) => random.item(name, 0, id) });
  const io = await fixtureTensors('vae-tiny/io.safetensors');
  return { ...vae, context, io: (name: string) => io.get(name) as TensorData, left: all.size - tensors.size };
}

afterEach(() => tf.disposeVariables());

// A software driver compiles WebGPU's shaders, one for each shape, for half a minute; its kernels have tests of their own.
const devices = (await testDevices()).filter((device) => device !== 'webgpu' || process.env.STEPLOOM_TEST_DEVICE);

for (const device of devices) {
  const bound = device === 'webgpu' ? 1e-4 : 1e-5;

  describe(`on ${device}`, () => {
    /** Encodes and decodes the fixture's tensors of these names, and compares with what diffusers gave. */
    async function compare(vae: Awaited<ReturnType<typeof tiny>>, expected: string, given = '') {
      const { mean, logvar } = vae.moments(vae.context, toNHWC(vae.io(`${given}image`)));
      expect(relativeGap(await toNCHW(mean), vae.io(`${expected}mean`).data)).toBeLessThan(bound);
      expect(relativeGap(await toNCHW(logvar), vae.io(`${expected}logvar`).data)).toBeLessThan(bound);
      const latents = toNHWC(vae.io(`${given}latents`)).mul<tf.Tensor4D>(vae.config.scaling_factor);
      expect(relativeGap(await toNCHW(vae.codec.decode(vae.context, latents)), vae.io(`${expected}decoded`).data)).toBeLessThan(bound);
    }

    test('mean, logvar and decoded pictures are diffusers’', async () => {
      await use(device);
      const vae = await tiny();
      expect([vae.factor, vae.codec.factor, vae.left]).toEqual([4, 4, 0]);
      await compare(vae, '');
    });

    test('with tiles too', async () => {
      await use(device);
      await compare(await tiny({}, { tile: 16 }), 'tiled.', 'large.');
      await compare(await tiny(), 'large.', 'large.');
    });

    test.each(['use_quant_conv', 'use_post_quant_conv', 'mid_block_add_attention'])('and without %s', async (option) => {
      await use(device);
      const vae = await tiny({ [option]: false });
      expect(vae.left).toBeGreaterThan(0);
      await compare(vae, `${option}.`);
    });
  });
}

test('logvar is clamped', async () => {
  await use('wasm');
  const vae = await tiny();
  const bias = tf.tensor1d([0, 0, 0, 0, 1e3, -1e3, 1e3, -1e3]);
  const context = { ...vae.context, parameters: { ...vae.context.parameters, 'vae.quant_conv.bias': bias } };
  const [first] = await vae.moments(context, tf.zeros([1, 4, 4, 3])).logvar.array();
  expect(first[0][0]).toEqual([20, -30, 20, -30]);
});

test('an example’s latents are mean + std noise by its id, in any batch, shifted and scaled as the config says', async () => {
  await use('wasm');
  const images = toNHWC((await tiny()).io('image'));
  const swapped = tf.reverse(images, 0);
  const [mean, std] = [
    [0.5, -1, 2, 0],
    [2, 0.5, 1, 3],
  ];
  const cases: [object, (x: number, channel: number) => number][] = [
    [{ scaling_factor: 0.13025 }, (x) => x * 0.13025],
    [{ scaling_factor: 0.5, shift_factor: 0.25 }, (x) => (x - 0.25) * 0.5],
    [{ scaling_factor: 0.5, latents_mean: mean, latents_std: std }, (x, c) => ((x - mean[c]) * 0.5) / std[c]],
  ];
  for (const [config, scaled] of cases) {
    const { codec, context, moments } = await tiny(config);
    const latents = await codec.encode(context, images, [3, 8]).data();
    const distribution = moments(context, images);
    const [means, logvars] = [await distribution.mean.data(), await distribution.logvar.data()];
    const noise = [3, 8].flatMap((id) => [...random.item('vae', 0, id).normals(new Float32Array(64))]);
    const expected = Float32Array.from(means, (m, i) => scaled(m + Math.exp(logvars[i] / 2) * noise[i], i % 4));
    expect(relativeGap(latents, expected)).toBeLessThan(1e-6);
    const kept = codec.moments(context, swapped);
    expect(relativeGap(await tf.reverse(codec.sample(context, kept, [8, 3]), 0).data(), latents)).toBeLessThan(1e-6);
    // What is encoded without spread is decoded from the same place.
    const [centre] = tf.split<tf.Tensor4D>(kept, 2, 3);
    const again = codec.sample(context, tf.concat([centre, tf.fill(centre.shape, -1e9)], 3), [0, 1]);
    const plain = await tiny();
    const direct = plain.codec.decode(plain.context, centre.mul(0.18215));
    expect(relativeGap(await codec.decode(context, again).data(), await direct.data())).toBeLessThan(1e-5);
  }
});

test('a batch is computed in slices, with what each alone gives, and nothing is kept', async () => {
  await use('wasm');
  const { codec, context } = await tiny();
  const images = tf.randomUniform<tf.Rank.R4>([3, 320, 320, 3], -1, 1, 'float32', 5);
  const before = tf.memory().numTensors;
  const whole = codec.moments(context, images);
  expect(tf.memory().numTensors).toBe(before + 1);
  const last = codec.moments(context, images.slice(2));
  expect(relativeGap(await whole.slice(2).data(), await last.data())).toBeLessThan(1e-6);
});

test('on a tape nothing of it is kept, and no gradient is asked for', async () => {
  await use('wasm');
  const { codec, context } = await tiny();
  const scale = tf.variable(tf.scalar(2));
  const images = tf.randomUniform<tf.Rank.R4>([1, 32, 32, 3], -1, 1, 'float32', 5);
  const before = tf.memory().numTensors;
  const { loss, gradients } = backward(
    () => {
      const start = tf.memory().numTensors;
      const latents = codec.encode(context, images, [1]);
      expect(tf.memory().numTensors).toBe(start + 1);
      return latents.square().mean().mul(scale) as tf.Scalar;
    },
    { scale } as Tensors,
    () => 1,
  );
  expect(gradients.scale.dataSync()[0]).toBeCloseTo(loss.dataSync()[0] / 2, 5);
  tf.dispose([loss, gradients]);
  expect(tf.memory().numTensors).toBe(before);
});

test('attention over queries in slices never has the whole score matrix', async () => {
  await use('wasm');
  const length = 4200;
  const [q, k, v] = [1, 2, 3].map((seed) => tf.randomNormal([1, length, 4], 0, 1, 'float32', seed));
  const { peakBytes, result } = await tf.profile(() => attentionBySlices(q, k, v, 1));
  expect(peakBytes - tf.memory().numBytes).toBeLessThan(length * length * 4);
  const rows = attention(q.slice([0, 4000, 0]), k, v, 1);
  expect(relativeGap(await (result as tf.Tensor).slice([0, 4000, 0]).data(), await rows.data())).toBeLessThan(1e-6);
});

describe('config.json', () => {
  test('old ones lack options, others have nulls and keys of other versions', () => {
    const { config } = autoencoderKL({ _class_name: 'AutoencoderKL', _diffusers_version: '0.2.2', act_fn: 'silu' });
    expect([config.scaling_factor, config.use_quant_conv, config.mid_block_add_attention]).toEqual([0.18215, true, true]);
    autoencoderKL({ shift_factor: null, latents_mean: null, latents_std: null, force_upcast: null, novelty: null, other: false });
  });
  test.each([
    [{ down_block_types: ['AttnDownEncoderBlock2D'] }, /down_block_types\.0: only "DownEncoderBlock2D"/],
    [{ act_fn: 'relu' }, /act_fn: only "silu"/],
    [{ novelty: 1 }, /novelty/],
    [{ block_out_channels: [32, 64] }, /differ in length/],
    [{ latents_mean: [1, 2], latents_std: [1, 1] }, /latents_mean has 2 entries for 4 channels/],
    [{ latents_mean: [1, 1, 1, 1] }, /one of latents_mean and latents_std is missing/],
    [{ latents_mean: [1, 1, 1, 1], latents_std: [1, 1, 1, 1], shift_factor: 1 }, /latents_mean and shift_factor/],
  ])('%j is refused', (config, message) => {
    expect(() => autoencoderKL(config)).toThrow(message);
    expect(() => autoencoderKL(config)).toThrow(/UNSUPPORTED_OPTION.*vae\/config\.json/);
  });
});

test('old names of an attention’s tensors', () => {
  const path = 'encoder.mid_block.attentions.0';
  expect(
    ['query.weight', 'key.bias', 'value.weight', 'proj_attn.bias', 'group_norm.weight', 'to_q.weight'].map((name) =>
      todaysName(`${path}.${name}`),
    ),
  ).toEqual(
    ['to_q.weight', 'to_k.bias', 'to_v.weight', 'to_out.0.bias', 'group_norm.weight', 'to_q.weight'].map((name) => `${path}.${name}`),
  );
  expect(todaysName('encoder.conv_in.weight')).toBe('encoder.conv_in.weight');
});

test('latents that are not finite name their images', () => {
  const latents = new Float32Array(12).fill(1);
  const names = ['a.png', 'b.png', 'c.png'];
  requireFiniteLatents(latents, names);
  latents[7] = Number.NaN;
  expect(() => requireFiniteLatents(latents, names)).toThrow(/LATENTS_NOT_FINITE.* b\.png/);
  latents[8] = Number.POSITIVE_INFINITY;
  expect(() => requireFiniteLatents(latents, names)).toThrow(/b\.png, c\.png/);
});
