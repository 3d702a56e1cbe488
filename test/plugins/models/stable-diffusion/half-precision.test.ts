import { afterAll, describe, expect, onTestFinished, test } from 'vitest';
import {
  backward,
  compose,
  type ModuleFacts,
  makeContext,
  run,
  seededRandom,
  type Tensor,
  type Tensors,
  Trainer,
  weightsOf,
} from '../../../../core/index.js';
import * as tf from '../../../../core/tf.js';
import { mergeLora } from '../../../../plugins/adapters/lora/merge.js';
import { withLora } from '../../../../plugins/adapters/lora/modules.js';
import { tryDevice } from '../../../../plugins/devices/choice/candidates.js';
import { type HalfPrecision, operation, registerOperations } from '../../../../plugins/devices/compute/contract.js';
import { deviceOf } from '../../../../plugins/devices/compute/installed.js';
import type { WebGPUDevice } from '../../../../plugins/devices/webgpu/device.js';
import { makeParameters } from '../../../../plugins/models/layers/parameters.js';
import { buildTextToImage } from '../../../../plugins/models/stable-diffusion/build.js';
import type { MixedPrecision } from '../../../../plugins/models/stable-diffusion/half-precision.js';
import type { TextToImage } from '../../../../plugins/models/stable-diffusion/text-to-image.js';
import { textToImageModel } from '../../../../plugins/models/text-to-image-model.js';
import { parseOptions } from '../../../../presets/common/parse-options.js';
import { textToImageOptions } from '../../../../presets/text-to-image.js';
import { relativeGap, use } from '../../../support/devices.js';
import { countWidened, smallDiffusion } from '../../../support/half.js';

const found = await tryDevice('webgpu');
if ('why' in found) console.log(`not tested here: models in half precision (${found.why})`);

const build = (mixedPrecision: MixedPrecision) =>
  buildTextToImage({ from: smallDiffusion, train: 'nothing', mixedPrecision }, seededRandom(3));
const disposeModel = (model: TextToImage) => tf.dispose([...model.parameters.values()].map(({ variable }) => variable));

const random = seededRandom(4);
const draw = (name: string, shape: number[]): Tensor =>
  tf.tensor(random.named(name).normals(new Float32Array(shape.reduce((a, b) => a * b, 1))), shape);

/** An adapter whose gradient comes through half of the denoiser, and whose second matrix is not 0, as if some steps were made. */
function adapted(model: TextToImage): TextToImage {
  const path = 'unet.up_blocks.0.resnets.0.time_emb_proj';
  const facts = model.modules.get(path) as ModuleFacts;
  const matrix = (name: string, shape: number[]) => tf.tidy(() => draw(name, shape).mul(0.2));
  return withLora(model, [{ path, facts, group: 'unet', a: matrix('a', [64, 4]), b: matrix('b', [4, 32]), scale: 2 }]);
}

/** The prediction, and gradients of what is trained. */
async function pass(model: TextToImage) {
  const context = makeContext(model, { mode: 'evaluate', parameters: weightsOf(model) });
  const trained: Tensors = Object.fromEntries(
    [...model.parameters].flatMap(([path, { variable, trainable }]) => (trainable ? [[path, variable]] : [])),
  );
  const latents = draw('latents', [1, 8, 8, 4]) as tf.Tensor4D;
  let prediction: Tensor | undefined;
  const { loss, gradients } = backward(
    () => {
      const predicted = model.predict(context, latents, [700], model.encode(context, ['red cat']));
      prediction = tf.keep(predicted.clone());
      return predicted.square().mean() as tf.Scalar;
    },
    trained,
    // As loss scaling would have it: without, gradients are lost.
    () => 1024,
  );
  const isHalf = (x: Tensor) => operation('precision')?.isHalf(x) === true;
  const halves = [prediction as Tensor, ...Object.values(gradients)].filter(isHalf).length;
  const values = new Map<string, Float32Array>();
  for (const [path, gradient] of Object.entries(gradients)) values.set(path, (await gradient.data()) as Float32Array);
  const predicted = await (prediction as Tensor).data();
  tf.dispose([latents, loss, gradients, prediction as Tensor]);
  return { predicted, gradients: values, halves };
}

/** The same on the cpu. */
async function inSinglePrecision(make: () => Promise<TextToImage>) {
  await use('cpu');
  const model = await make();
  const passed = await pass(model);
  disposeModel(model);
  return passed;
}

/** The gap of all gradients together: of a small one alone rounding is a large share. */
const gapOf = (one: Map<string, Float32Array>, other: Map<string, Float32Array>): number => {
  let [square, whole] = [0, 0];
  for (const [path, values] of other)
    for (const [i, value] of values.entries()) {
      square += (value - (one.get(path)?.[i] as number)) ** 2;
      whole += value ** 2;
    }
  return Math.sqrt(square / whole);
};

describe.runIf('report' in found)('a text-to-image model in half precision', () => {
  afterAll(() => use('cpu'));

  test('predicts, and gives adapters the gradients, that it does in single precision but for rounding', async () => {
    const expected = await inSinglePrecision(async () => adapted(await build('no')));
    await use('webgpu');
    const before = tf.memory().numTensors;
    // Without attention of its own, whose shader takes long to be compiled.
    onTestFinished(registerOperations(tf.backend(), { precision: operation('precision') as HalfPrecision }));
    const half = adapted(await build('fp16'));
    // Shaders are compiled within what computes: a part at a time, so that no one part is long.
    const context = makeContext(half, { mode: 'evaluate', parameters: weightsOf(half) });
    const latents = draw('latents', [1, 8, 8, 4]) as tf.Tensor4D;
    const told = tf.tidy(() => ({ ...half.encode(context, ['red cat']) }));
    await told.states.data();
    const prediction = tf.tidy(() => half.predict(context, latents, [700], told));
    await prediction.data();
    tf.dispose([latents, told.states, prediction]);
    const widened = countWidened();
    const actual = await pass(half);
    // What goes into three attentions that are made of products, as masked ones are on all adapters; and the sigmoid of the text encoder's activation.
    expect(widened()).toBe(10);
    expect(actual.halves).toBe(0);
    expect(relativeGap(actual.predicted, expected.predicted)).toBeLessThan(5e-3);
    expect(gapOf(actual.gradients, expected.gradients)).toBeLessThan(5e-3);
    disposeModel(half);
    expect(tf.memory().numTensors).toBe(before);
  });

  test('is refused where a weight’s numbers are beyond float16', async () => {
    await use('webgpu');
    const before = tf.memory().numTensors;
    const spec = { path: 'fc.weight', shape: [8, 8], layout: 'linear', start: (_: unknown, out: Float32Array) => out.fill(7e4) } as const;
    const made = (half: boolean) => makeParameters([spec], { trainable: false, group: 'unet', random: seededRandom(0), half });
    await expect(made(true)).rejects.toThrow(/OPTION_INVALID.*fp16, and fc\.weight holds 70000, where float16 ends at 65504.*Leave/s);
    tf.dispose([...(await made(false)).values()].map(({ variable }) => variable));
    expect(tf.memory().numTensors).toBe(before);
  });

  test('keeps frozen matrices in half the memory, from which they are read, saved and merged as the file had them', async () => {
    await use('webgpu');
    const [full, half] = [await build('no'), await build('fp16')];
    const device = deviceOf<WebGPUDevice>(tf.backend());
    const bytes = (model: TextToImage, path: string) =>
      device.entryOf((model.parameters.get(path) as { variable: tf.Variable }).variable).resource?.size;
    for (const path of ['unet.mid_block.resnets.0.conv1.weight', 'text_encoder.encoder.layers.0.mlp.fc1.weight'])
      expect(bytes(half, path)).toBe((bytes(full, path) as number) / 2);
    for (const path of ['unet.conv_out.weight', 'unet.conv_in.bias', 'unet.conv_norm_out.weight'])
      expect(bytes(half, path)).toBe(bytes(full, path));

    const path = 'unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q';
    const variableOf = (model: TextToImage, of: string) => (model.parameters.get(of) as { variable: tf.Variable }).variable;
    const variable = variableOf(half, `${path}.weight`);
    const [read, original] = [await variable.data(), await variableOf(full, `${path}.weight`).data()];
    expect(relativeGap(read, original)).toBeLessThan(2 ** -11);
    const [a, b] = [tf.fill([32, 1], 2 ** -7), tf.fill([1, 32], 2 ** -7)];
    await mergeLora(half, [{ path, a, b, scale: 1 }]);
    const merged = await variable.data();
    // float16 would have rounded it.
    expect(Array.from(merged)).toEqual(Array.from(read, (x) => Math.fround(x + 2 ** -14)));
    tf.dispose([a, b]);
    disposeModel(full);
    disposeModel(half);
  });
});

test('half precision is refused where the device has none, without loss scaling, and as bf16', async () => {
  await use('cpu');
  await expect(build('fp16')).rejects.toThrow(/OPTION_INVALID.*mixed_precision is fp16, and the device cpu.*webgpu/s);
  const model = textToImageModel({ from: smallDiffusion, train: 'nothing', mixedPrecision: 'fp16' });
  await expect(new Trainer(compose(run({ steps: 1, learningRate: 1, seed: 0 }), model)).train()).rejects.toThrow(/requires "loss-scaling"/);
  const options = { trainDataDir: 'x', mixedPrecision: 'bf16' };
  expect(() => parseOptions('text-to-image', textToImageOptions, options)).toThrow(/mixedPrecision is "bf16".*no, fp16.*no bf16/s);
});
