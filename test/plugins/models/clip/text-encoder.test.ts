import { afterEach, describe, expect, test } from 'vitest';
import { makeContext, seededRandom, type Tensor, type TensorData, weightsOf } from '../../../../core/index.js';
import { clipText } from '../../../../plugins/models/clip/text-encoder.js';
import { makeParameters } from '../../../../plugins/models/layers/parameters.js';
import { storedInMemory } from '../../../../plugins/persist/formats/stored-tensors.js';
import { relativeGap, testDevices, tf, use } from '../../../support/devices.js';
import { fixtureJson, fixtureTensors } from '../../../support/fixtures.js';

afterEach(() => tf.disposeVariables());

async function tiny(name: string, config: object = {}) {
  const clip = clipText({ ...(await fixtureJson(`${name}/config.json`)), ...config });
  const raw = await fixtureTensors(`${name}/model.safetensors`);
  const tensors = storedInMemory(new Map([...raw].map(([key, value]) => [`text_encoder.${key.replace(/^text_model\./, '')}`, value])));
  const parameters = await makeParameters(clip.specs, { trainable: false, group: 'text_encoder', random: seededRandom(0), tensors });
  const model = { parameters, modules: clip.modules, wraps: new Map(), forward: () => tf.scalar(0) };
  const context = makeContext(model, { mode: 'evaluate', parameters: weightsOf(model) });
  const io = await fixtureTensors(`${name}/io.safetensors`);
  const get = (key: string) => io.get(key) as TensorData;
  const flat = [...get('input_ids').data];
  return { ...clip, context, get, ids: [flat.slice(0, 8), flat.slice(8)] };
}

const devices = (await testDevices()).filter((device) => device !== 'webgpu' || process.env.STEPLOOM_TEST_DEVICE);

for (const device of devices)
  describe.each(['text-states-tiny', 'text-projection-tiny'])(`%s on ${device}`, (name) => {
    test('gives the states of transformers that families use', async () => {
      await use(device);
      const { outputs, context, get, ids } = await tiny(name);
      const close = async (tensor: Tensor | undefined, key: string) =>
        expect(relativeGap(await (tensor as Tensor).data(), get(key).data), key).toBeLessThan(1e-5);
      const usual = outputs(context, ids, { pooled: true });
      await close(usual.states, 'last');
      await close(usual.pooled, 'pooled');
      const penultimate = outputs(context, ids, { skip: 1, normalized: false, pooled: true });
      await close(penultimate.states, 'penultimate');
      await close(penultimate.pooled, 'pooled');
      await close(outputs(context, ids, { skip: 2 }).states, 'skip2.normalized');
      expect(outputs(context, ids).pooled).toBeUndefined();
    });
  });

test('the text ends at the largest id where eos_token_id is 2, else at the first of that id', async () => {
  await use('cpu');
  const { outputs, context, ids } = await tiny('text-states-tiny', { eos_token_id: 7 });
  const { states, pooled } = outputs(context, ids, { pooled: true });
  const rows = [states.slice([0, 0], [1, 1]), states.slice([1, 2], [1, 1])].map((row) => row.reshape([1, 12]));
  expect(relativeGap(await (pooled as Tensor).data(), await tf.concat(rows).data())).toBeLessThan(1e-6);
});

test('nulls and options of any version are accepted; what changes the computation is refused by name', () => {
  clipText({
    hidden_act: 'gelu',
    projection_dim: null,
    eos_token_id: null,
    dropout: 0,
    transformers_version: '4.21.0.dev0',
    torch_dtype: 'float16',
  });
  expect(() => clipText({ hidden_act: 'gelu_new' })).toThrow(/UNSUPPORTED_OPTION.*hidden_act/);
  expect(() => clipText({ attention_dropout: 0.1 })).toThrow(/attention_dropout/);
});

test('more layers than there are cannot be skipped', async () => {
  await use('cpu');
  const { outputs, context, ids } = await tiny('text-states-tiny');
  expect(() => outputs(context, ids, { skip: 4 })).toThrow(/OPTION_INVALID.*clip skip.*4 of 3/);
});
