import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import {
  backward,
  compose,
  makeContext,
  OBJECTIVE,
  type Plugin,
  run,
  seededRandom,
  Trainer,
  weightsOf,
  withRecomputedBlocks,
} from '../../../core/index.js';
import { momentsOf } from '../../../core/run/memory.js';
import { lora } from '../../../plugins/adapters/lora.js';
import { arrays } from '../../../plugins/data/arrays.js';
import { device } from '../../../plugins/devices/device.js';
import { gradientCheckpointing } from '../../../plugins/gradients/gradient-checkpointing.js';
import { functionModel } from '../../../plugins/models/function-model.js';
import { buildTextToImage } from '../../../plugins/models/stable-diffusion/build.js';
import { textToImageModel } from '../../../plugins/models/text-to-image-model.js';
import { denoising } from '../../../plugins/objectives/denoising.js';
import { adamw } from '../../../plugins/optimizers/adamw.js';
import { folder } from '../../../plugins/persist/formats/folder.js';
import { constant } from '../../../plugins/schedules/constant.js';
import { tf, use } from '../../support/devices.js';

const pipeline = (name: string) => folder(fileURLToPath(new URL(`../../fixtures/pipelines/${name}`, import.meta.url)));
const ITEMS = 4;
const data = () =>
  arrays(
    {
      moments: {
        dtype: 'float32',
        shape: [ITEMS, 8, 8, 8],
        data: Float32Array.from({ length: ITEMS * 512 }, (_, i) => Math.sin(i) / 2),
      },
    },
    { batchSize: 2, strings: { text: ['a', 'the cat', 'red', ''] } },
  );

/** The losses and the weights of some steps, of LoRA with dropout or of all weights. */
async function trained(name: string, backend: 'cpu' | 'wasm', whole: boolean, more: readonly Plugin[]) {
  const losses: unknown[] = [];
  const weights = new Map<string, Uint8Array>();
  const look: Plugin = {
    name: 'look',
    apply(host) {
      host.hooks.shouldLog.tap(() => true);
      host.hooks.onRecord.tap(({ loss }) => void losses.push(loss));
      host.hooks.onEnd.tap(() => {
        for (const [path, { variable, trainable }] of host.model().parameters)
          if (trainable) weights.set(path, new Uint8Array(new Float32Array(variable.dataSync()).buffer));
      });
    },
  };
  const adapters = lora({ rank: 2, dropout: 0.3, targets: ['to_q', 'conv1', 'ff.net.2'], textTargets: ['q_proj'] });
  const composition = compose(
    run({ steps: 2, learningRate: 1e-2, weightDecay: 0.01, seed: 3 }),
    device(backend, { threads: 1 }),
    textToImageModel({ from: pipeline(name), train: whole ? 'everything' : 'nothing' }),
    ...(whole ? [] : [adapters]),
    ...more,
    data(),
    denoising({ captionDropout: 0.3 }),
    adamw(),
    constant(),
    look,
  );
  await new Trainer(composition).train();
  expect(losses).toHaveLength(2);
  return { losses, weights };
}

describe.each([
  ['sd15', 'cpu', false],
  ['sd15', 'wasm', true],
  ['sdxl', 'wasm', false],
] as const)('%s on %s, all weights: %s', (name, backend, whole) => {
  test('learns the same to the last bit, dropout included', async () => {
    const plain = await trained(name, backend, whole, []);
    const checkpointed = await trained(name, backend, whole, [gradientCheckpointing()]);
    expect(checkpointed.losses).toEqual(plain.losses);
    expect([...checkpointed.weights.keys()]).toEqual([...plain.weights.keys()]);
    for (const [path, bytes] of plain.weights) expect(checkpointed.weights.get(path), path).toEqual(bytes);
  });
});

test('less is kept', async () => {
  await use('wasm');
  const built = await buildTextToImage({ from: pipeline('sd15'), train: 'unet' }, seededRandom(0));
  const trainable = Object.fromEntries(Object.entries(weightsOf(built)).filter(([path]) => built.parameters.get(path)?.trainable));
  const peakOf = (model: typeof built): number => {
    const context = makeContext(model, { mode: 'train', parameters: weightsOf(model) });
    const moments = momentsOf(() => {
      const { loss, gradients } = backward(
        () => {
          const latents = tf.ones<tf.Rank.R4>([4, 16, 16, 4]);
          return model
            .predict(context, latents, [1, 2, 3, 4], model.encode(context, ['', '', '', '']))
            .square()
            .mean() as tf.Scalar;
        },
        trainable,
        () => 1,
      );
      tf.dispose([gradients, loss] as never);
    });
    return Math.max(...moments.map(({ kept }) => kept));
  };
  const blocks = [...(built.blocks ?? [])];
  expect(blocks).toContain('unet.down_blocks.0.resnets.0');
  expect(blocks).toContain('unet.mid_block.attentions.0.transformer_blocks.0');
  expect(blocks).toContain('text_encoder.encoder.layers.1');
  const [plain, less] = [peakOf(built), peakOf(withRecomputedBlocks(built))];
  // Of these few and small blocks one alone takes a good part of it.
  expect(less / plain).toBeLessThan(0.6);
  tf.dispose(weightsOf(built));
});

test('a function’s own blocks are computed again, where it names them', async () => {
  const w = tf.variable(tf.fill([1], 0.5));
  let calls = 0;
  const block = ([x]: tf.Tensor[]) => {
    calls++;
    return x.mul(w);
  };
  const sum = (): Plugin => ({
    name: 'sum',
    fills: OBJECTIVE,
    loss: (context, model, { tensors }) => model.forward(context, { x: tensors.x }).mean() as tf.Scalar,
  });
  const steps = (more: readonly Plugin[]) =>
    new Trainer(
      compose(
        run({ steps: 1, learningRate: 1e-2 }),
        device('cpu'),
        functionModel({ w }, (_, inputs, context) => context.module('block', [inputs.x as tf.Tensor], block), { blocks: ['block'] }),
        ...more,
        arrays({ x: { dtype: 'float32', shape: [2, 1], data: Float32Array.of(1, 2) } }, { batchSize: 2 }),
        sum(),
        adamw(),
        constant(),
      ),
    ).train();
  await steps([]);
  expect(calls).toBe(1);
  await steps([gradientCheckpointing()]);
  expect(calls).toBe(3);
  w.dispose();
});

test('a model without blocks is refused before training', async () => {
  const w = tf.variable(tf.ones([1]));
  const composition = compose(
    run({ steps: 1, learningRate: 1e-2 }),
    device('cpu'),
    functionModel({ w }, (weights) => weights.w),
    gradientCheckpointing(),
    data(),
    denoising(),
    adamw(),
    constant(),
  );
  await expect(new Trainer(composition).train()).rejects.toThrow(/MODEL_UNFIT \(gradient-checkpointing\): the model names no blocks/);
  w.dispose();
});
