import { afterEach, describe, expect, test } from 'vitest';
import {
  backward,
  type Model,
  makeContext,
  seededRandom,
  type Tensor,
  type TensorData,
  type Tensors,
  weightsOf,
} from '../../../core/index.js';
import { mergeLora } from '../../../plugins/adapters/lora/merge.js';
import { loraPaths, withLora } from '../../../plugins/adapters/lora/modules.js';
import { readLora } from '../../../plugins/adapters/lora/serialize.js';
import { clipText } from '../../../plugins/models/clip/text-encoder.js';
import { makeParameters } from '../../../plugins/models/layers/parameters.js';
import { unet2DCondition } from '../../../plugins/models/unet/unet2d-condition.js';
import { type Layout, toFile } from '../../../plugins/persist/formats/pytorch-layout.js';
import { relativeGap, testDevices, tf, use } from '../../support/devices.js';
import { fixture, fixtureJson, fixtureTensors, fixtureWeights, toNCHW, toNHWC } from '../../support/fixtures.js';

const random = seededRandom(0);

async function tinyUNet(config: object = {}) {
  const unet = unet2DCondition({ ...(await fixtureJson('unet-tiny/config.json')), ...config });
  const tensors = await fixtureWeights('unet-tiny/diffusion_pytorch_model.safetensors', 'unet.');
  const model: Model = {
    parameters: await makeParameters(unet.specs, { trainable: true, group: 'unet', random, tensors }),
    modules: unet.modules,
    wraps: new Map(),
    forward: (context, { sample, text, timesteps }) => unet.forward(context, sample as Tensor, timesteps as number[], text as Tensor),
  };
  return { unet, model };
}

async function tinyTextEncoder() {
  const clip = clipText(await fixtureJson('text-encoder-tiny/config.json'));
  const tensors = await fixtureWeights('text-encoder-tiny/model.safetensors', 'text_encoder.');
  const model: Model = {
    parameters: await makeParameters(clip.specs, { trainable: true, group: 'text', random, tensors }),
    modules: clip.modules,
    wraps: new Map(),
    forward: (context, { ids }) => clip.forward(context, ids as Tensor),
  };
  return { clip, model };
}

async function inputs() {
  const io = await fixtureTensors('unet-tiny/io.safetensors');
  const get = (name: string) => io.get(name) as TensorData;
  const text = get('encoder_hidden_states');
  return {
    io,
    sample: toNHWC(get('sample')),
    target: toNHWC(get('target')),
    timesteps: [...get('timestep').data],
    text: tf.tensor(text.data as Float32Array, text.shape as number[]),
  };
}

afterEach(() => tf.disposeVariables());

test('30 adapters in every form and type that files have, each module with its own rank and alpha, merge as peft fuses them', async () => {
  await use('cpu');
  const outputs = await fixtureTensors('lora-forms/outputs.safetensors');
  expect(outputs.size).toBe(31);
  const { sample, timesteps } = await inputs();
  const { unet, model: denoiser } = await tinyUNet();
  const { clip, model: encoder } = await tinyTextEncoder();
  const { shape, data } = (await fixtureTensors('text-encoder-tiny/io.safetensors')).get('input_ids.short') as TensorData;
  const ids = tf.tensor2d(data as Int32Array, shape as [number, number], 'int32');
  const model: Model = {
    parameters: new Map([...denoiser.parameters, ...encoder.parameters]),
    modules: new Map([...unet.modules, ...clip.modules]),
    wraps: new Map(),
    forward: (context) => unet.forward(context, sample, timesteps, clip.forward(context, ids)),
  };
  const output = async () => {
    const result = tf.tidy(() => model.forward(makeContext(model, { mode: 'evaluate', parameters: weightsOf(model) }), {}));
    const values = await toNCHW(result);
    result.dispose();
    return values;
  };
  for (const [name, expected] of outputs) {
    const adapters = name === 'plain' ? [] : readLora(await fixture(`lora-forms/${name}`), model, name);
    await mergeLora(model, adapters);
    expect(relativeGap(await output(), expected.data), name).toBeLessThan(2e-5);
    await mergeLora(model, adapters, -1);
    tf.dispose(adapters.map(({ a, b }) => [a, b]));
  }
});

for (const device of await testDevices()) {
  // Bounds are shares of each tensor's largest value. webgpu's exp and rsqrt are a few units in the last place worse.
  const [outputs, gradients] = device === 'webgpu' ? [1e-4, 1e-3] : [1e-5, 1e-4];

  describe(`on ${device}`, () => {
    test('the UNet gives the output and gradients of diffusers', async () => {
      await use(device);
      const { unet, model } = await tinyUNet();
      const { io, sample, target, timesteps, text } = await inputs();
      const weights = weightsOf(model);
      let output!: Tensor;
      const result = backward(
        () => {
          output = tf.keep(model.forward(makeContext(model, { mode: 'train', parameters: weights }), { sample, text, timesteps }));
          return tf.losses.meanSquaredError(target, output) as tf.Scalar;
        },
        weights,
        () => 1,
      );
      expect(relativeGap(await toNCHW(output), (io.get('output') as TensorData).data)).toBeLessThan(outputs);
      expect(relativeGap(await result.loss.data(), (io.get('loss') as TensorData).data)).toBeLessThan(outputs);
      let compared = 0;
      for (const spec of unet.specs) {
        const expected = io.get(`grad.${spec.path.slice('unet.'.length)}`);
        if (!expected) continue;
        compared++;
        const own = toFile((await result.gradients[spec.path].data()) as Float32Array, spec);
        expect(relativeGap(own, expected.data), spec.path).toBeLessThan(gradients);
      }
      expect(compared).toBe(21);
    });

    // What decides it is the same on all devices; making shaders in software takes long.
    if (device !== 'webgpu')
      test('attention_head_dim counts heads', async () => {
        await use(device);
        for (const heads of [2, 8]) {
          const { model } = await tinyUNet({ attention_head_dim: heads });
          const { io, sample, timesteps, text } = await inputs();
          const output = tf.tidy(() =>
            model.forward(makeContext(model, { mode: 'evaluate', parameters: weightsOf(model) }), { sample, text, timesteps }),
          );
          expect(relativeGap(await toNCHW(output), (io.get(`output.attention_head_dim_${heads}`) as TensorData).data)).toBeLessThan(
            outputs,
          );
        }
      });

    test('LoRA gives the output and gradients of peft', async () => {
      await use(device);
      const { model } = await tinyUNet();
      const file = readLora(await fixture('unet-tiny/pytorch_lora_weights_with_metadata.safetensors'), model);
      for (const { scale } of file) expect(scale).toBe(1.5);
      const adapted = withLora(
        model,
        file.map((module) => ({ ...module, group: 'unet', facts: model.modules.get(module.path) as never })),
      );
      const io = await fixtureTensors('unet-tiny/lora-io.safetensors');
      const { sample, target, timesteps, text } = await inputs();
      const weights = weightsOf(adapted);
      const trained: Tensors = Object.fromEntries(
        [...adapted.parameters].filter(([, p]) => p.trainable).map(([path]) => [path, weights[path]]),
      );
      expect(Object.keys(trained)).toHaveLength(64);
      let output!: Tensor;
      const result = backward(
        () => {
          output = tf.keep(adapted.forward(makeContext(adapted, { mode: 'train', parameters: weights }), { sample, text, timesteps }));
          return tf.losses.meanSquaredError(target, output) as tf.Scalar;
        },
        trained,
        () => 1,
      );
      expect(relativeGap(await toNCHW(output), (io.get('output') as TensorData).data)).toBeLessThan(outputs);
      for (const { path } of file) {
        const { a, b } = loraPaths(path);
        for (const [key, name] of [
          ['down', a],
          ['up', b],
        ]) {
          const tensor = result.gradients[name];
          const own = toFile((await tensor.data()) as Float32Array, { shape: tensor.shape, layout: 'linear' as Layout });
          const expected = io.get(`grad.${path.slice('unet.'.length)}.lora.${key}.weight`) as TensorData;
          expect(relativeGap(own, expected.data), name).toBeLessThan(device === 'webgpu' ? 5e-3 : 1e-4);
        }
      }
    });

    test('the text encoder gives the states and gradients of transformers', async () => {
      await use(device);
      const { clip, model } = await tinyTextEncoder();
      const io = await fixtureTensors('text-encoder-tiny/io.safetensors');
      const get = (name: string) => io.get(name) as TensorData;
      const weights = weightsOf(model);
      const target = tf.tensor3d(get('target').data as Float32Array, [2, 16, 12]);
      let output!: Tensor;
      const { gradients: grads } = backward(
        () => {
          output = tf.keep(
            model.forward(makeContext(model, { mode: 'train', parameters: weights }), {
              ids: tf.tensor2d(get('input_ids').data as Int32Array, [2, 16], 'int32'),
            }),
          );
          return tf.losses.meanSquaredError(target, output) as tf.Scalar;
        },
        weights,
        () => 1,
      );
      expect(relativeGap(await output.data(), get('last_hidden_state').data)).toBeLessThan(outputs);
      const short = tf.tidy(() =>
        model.forward(makeContext(model, { mode: 'evaluate', parameters: weights }), {
          ids: tf.tensor2d(get('input_ids.short').data as Int32Array, [2, 7], 'int32'),
        }),
      );
      expect(relativeGap(await short.data(), get('last_hidden_state.short').data)).toBeLessThan(outputs);
      let compared = 0;
      for (const spec of clip.specs) {
        const expected = io.get(`grad.${spec.path.slice('text_encoder.'.length)}`);
        if (!expected) continue;
        compared++;
        expect(relativeGap(toFile((await grads[spec.path].data()) as Float32Array, spec), expected.data), spec.path).toBeLessThan(
          gradients,
        );
      }
      expect(compared).toBe(3);
    });
  });
}
