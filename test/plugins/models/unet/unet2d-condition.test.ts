import { afterEach, describe, expect, test } from 'vitest';
import { backward, type Model, makeContext, seededRandom, type Tensor, type TensorData, weightsOf } from '../../../../core/index.js';
import { makeParameters } from '../../../../plugins/models/layers/parameters.js';
import { parseUNetConfig } from '../../../../plugins/models/unet/config.js';
import { timeIds } from '../../../../plugins/models/unet/time-ids.js';
import { unet2DCondition } from '../../../../plugins/models/unet/unet2d-condition.js';
import { toFile } from '../../../../plugins/persist/formats/pytorch-layout.js';
import { relativeGap, testDevices, tf, use } from '../../../support/devices.js';
import { fixtureJson, fixtureTensors, fixtureWeights, toNCHW, toNHWC } from '../../../support/fixtures.js';

afterEach(() => tf.disposeVariables());

async function tiny(name: string) {
  const unet = unet2DCondition(await fixtureJson(`${name}/config.json`));
  const tensors = await fixtureWeights(`${name}/diffusion_pytorch_model.safetensors`, 'unet.');
  const io = await fixtureTensors(`${name}/io.safetensors`);
  const get = (key: string) => io.get(key) as TensorData;
  const [text, pooled] = ['encoder_hidden_states', 'pooled'].map((key) =>
    tf.tensor(get(key).data as Float32Array, get(key).shape as number[]),
  );
  const ids = [...get('time_ids').data];
  const added = { pooled, timeIds: [ids.slice(0, 6), ids.slice(6)] };
  const timesteps = [...get('timestep').data];
  const model: Model = {
    parameters: await makeParameters(unet.specs, { trainable: true, group: 'unet', random: seededRandom(0), tensors }),
    modules: unet.modules,
    wraps: new Map(),
    forward: (context, { sample }) =>
      unet.forward(context, sample as Tensor, timesteps, text, unet.config.addition_embed_type ? added : undefined),
  };
  return { unet, model, io, get };
}

// A software driver compiles WebGPU's shaders, one for each shape, for long; its kernels have tests of their own.
const devices = (await testDevices()).filter((device) => device !== 'webgpu' || process.env.STEPLOOM_TEST_DEVICE);

for (const device of devices)
  describe.each(['unet-sd2-tiny', 'unet-sdxl-tiny'])(`%s on ${device}`, (name) => {
    test('gives the output and gradients of diffusers', async () => {
      await use(device);
      const { unet, model, io, get } = await tiny(name);
      const weights = weightsOf(model);
      const [sample, target] = [toNHWC(get('sample')), toNHWC(get('target'))];
      let output!: Tensor;
      const { loss, gradients } = backward(
        () => {
          output = tf.keep(model.forward(makeContext(model, { mode: 'train', parameters: weights }), { sample }));
          return tf.losses.meanSquaredError(target, output) as tf.Scalar;
        },
        weights,
        () => 1,
      );
      expect(relativeGap(await toNCHW(output), get('output').data)).toBeLessThan(1e-5);
      expect(relativeGap(await loss.data(), get('loss').data)).toBeLessThan(1e-5);
      const compared = unet.specs.filter(({ path }) => io.has(`grad.${path.slice(5)}`));
      expect(compared.length).toBe([...io.keys()].filter((key) => key.startsWith('grad.')).length);
      for (const spec of compared) {
        const own = toFile((await gradients[spec.path].data()) as Float32Array, spec);
        expect(relativeGap(own, get(`grad.${spec.path.slice(5)}`).data), spec.path).toBeLessThan(1e-4);
      }
    });

    test('takes sizes that its levels do not divide', async () => {
      await use(device);
      const { model, get } = await tiny(name);
      const context = makeContext(model, { mode: 'evaluate', parameters: weightsOf(model) });
      const output = tf.tidy(() => model.forward(context, { sample: toNHWC(get('odd.sample')) }));
      expect(relativeGap(await toNCHW(output), get('odd.output').data)).toBeLessThan(1e-5);
    });
  });

test('a denoiser of SDXL says what it also needs', async () => {
  await use('cpu');
  const { unet, model } = await tiny('unet-sdxl-tiny');
  const context = makeContext(model, { mode: 'evaluate', parameters: weightsOf(model) });
  expect(() => unet.forward(context, tf.zeros([1, 8, 8, 4]), [1], tf.zeros([1, 5, 12]))).toThrow(/MODEL_UNFIT.*time ids/);
});

test('null is off in copies of configs, also for options of other versions; what changes the computation is refused by name', () => {
  const config = parseUNetConfig({
    upcast_attention: null,
    use_linear_projection: null,
    only_cross_attention: null,
    a_novelty: null,
    another: false,
  });
  expect([config.upcast_attention, config.use_linear_projection]).toEqual([false, false]);
  expect(() => parseUNetConfig({ addition_embed_type: 'image' })).toThrow(/addition_embed_type: only "text_time" or null/);
  expect(() => parseUNetConfig({ addition_embed_type: 'text_time' })).toThrow(/without addition_time_embed_dim/);
  expect(() => parseUNetConfig({ dual_cross_attention: true })).toThrow(/dual_cross_attention: only false or null/);
});

test('time ids are original size, crop and target size; a mirrored picture’s left is what was cut off at its right', () => {
  const conditions = { original: [600, 800], resized: [512, 683], crop: [0, 100], target: [512, 512] } as const;
  expect(timeIds(conditions)).toEqual([600, 800, 0, 100, 512, 512]);
  expect(timeIds({ ...conditions, flipped: true })).toEqual([600, 800, 0, 71, 512, 512]);
  expect(timeIds({ ...conditions, crop: [7, 171], flipped: true })).toEqual([600, 800, 7, 0, 512, 512]);
});
