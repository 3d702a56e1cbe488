import { beforeAll, expect, test } from 'vitest';
import {
  backward,
  compose,
  DEVICE,
  type DeviceReport,
  makeContext,
  type Plugin,
  run,
  seededRandom,
  Trainer,
  weightsOf,
} from '../../../core/index.js';
import { momentsOf } from '../../../core/run/memory.js';
import * as tf from '../../../core/tf.js';
import { arrays } from '../../../plugins/data/arrays.js';
import { squaredErrors } from '../../../plugins/devices/compute/squared-errors.js';
import { accumulation } from '../../../plugins/gradients/accumulation.js';
import { gradientCheckpointing } from '../../../plugins/gradients/gradient-checkpointing.js';
import { buildTextToImage } from '../../../plugins/models/stable-diffusion/build.js';
import { type TextToImageModelOptions, textToImageModel } from '../../../plugins/models/text-to-image-model.js';
import { denoising } from '../../../plugins/objectives/denoising.js';
import { adamw } from '../../../plugins/optimizers/adamw.js';
import { use } from '../../support/devices.js';
import { smallModel } from '../../support/small-model.js';

const base = smallModel(['red'], 0);
const model: TextToImageModelOptions = {
  from: {
    ...base,
    unet: {
      ...base.unet,
      block_out_channels: [4, 8],
      down_block_types: ['DownBlock2D', 'CrossAttnDownBlock2D'],
      up_block_types: ['CrossAttnUpBlock2D', 'UpBlock2D'],
      norm_num_groups: 2,
    },
  },
  train: 'everything',
};
const SIDE = 64;
const BATCH = 3;
beforeAll(() => use('wasm'));

/** The device that is there, said to have so much memory. */
const limited = (limits: NonNullable<DeviceReport['limits']>): Plugin => ({
  name: 'limited',
  fills: DEVICE,
  setUp: async () => ({ name: 'limited', detail: '', limits }),
});

const job = (limits: NonNullable<DeviceReport['limits']>, window = 1, more: readonly Plugin[] = []) => {
  const size = SIDE * SIDE * 3;
  return compose(
    run({ learningRate: 1e-3, steps: 1 }),
    limited(limits),
    textToImageModel(model),
    arrays(
      { images: { dtype: 'float32', shape: [BATCH, SIDE, SIDE, 3], data: new Float32Array(BATCH * size) } },
      {
        batchSize: BATCH,
        strings: { text: new Array<string>(BATCH).fill('red') },
      },
    ),
    denoising(),
    adamw(),
    accumulation(window),
    ...more,
  );
};

/** What this step takes, found by making it. */
async function measured() {
  const built = await buildTextToImage(model, seededRandom(0));
  const weights = weightsOf(built);
  const latents = tf.zeros<tf.Rank.R4>([BATCH, SIDE / 2, SIDE / 2, 4]);
  const context = makeContext(built, { mode: 'train', parameters: weights });
  const moments = momentsOf(() => {
    const { loss, gradients } = backward(
      () => {
        const made = tf.zerosLike(latents);
        const texts = built.encode(context, ['', '', '']);
        return squaredErrors(built.predict(context, made as tf.Tensor4D, [0, 0, 0], texts), made).mean() as tf.Scalar;
      },
      weights,
      () => BATCH,
    );
    tf.dispose([gradients, loss] as never);
  });
  const bytesOf = (trained: boolean) =>
    [...built.parameters.values()].reduce((sum, { trainable, variable }) => sum + (trainable || !trained ? 4 * variable.size : 0), 0);
  const [parameters, trained] = [bytesOf(false), bytesOf(true)];
  tf.dispose(weights);
  latents.dispose();
  return { peak: Math.max(...moments.map(({ kept }) => kept)), largest: Math.max(...moments.map(({ made }) => made)), parameters, trained };
}

const refusal = async (limits: NonNullable<DeviceReport['limits']>, window = 1, more: readonly Plugin[] = []): Promise<string | null> => {
  const trainer = new Trainer(job(limits, window, more), { warn: () => {} });
  try {
    await trainer.explain();
    return null;
  } catch (error) {
    expect(error).toMatchObject({ code: 'OUT_OF_MEMORY', plugin: 'core' });
    return (error as Error).message;
  } finally {
    await trainer.dispose();
  }
};

test('a step is refused before it is tried where it needs more than there is, and at the edge it is not', async () => {
  const { peak, largest, parameters, trained } = await measured();
  // AdamW has two means of each weight that is trained, and four scalars.
  const needed = peak + parameters + 2 * trained + 16;
  const before = tf.memory().numTensors;
  expect(await refusal({ bytes: Math.ceil(1.001 * needed) })).toBeNull();
  expect(await refusal({ bytes: Math.floor(0.999 * needed) })).toMatch(
    /a microBatch of 3 at 64 pixels needs at least \S+ GiB at one time.*the device has \S+ GiB\. There should be room for gradient checkpointing, or for a batch of 2 with gradient accumulation of 2, or for a resolution of \d+/,
  );
  expect(await refusal({ bytes: Math.floor(0.999 * needed) }, 1, [gradientCheckpointing()])).toBeNull();
  expect(await refusal({ bytes: Math.floor(0.3 * needed) }, 1, [gradientCheckpointing()])).not.toMatch(/gradient checkpointing/);
  // A window keeps what it has added up.
  expect(await refusal({ bytes: Math.ceil(1.001 * needed + trained) }, 2)).toBeNull();
  expect(await refusal({ bytes: Math.ceil(needed + 0.9 * trained) }, 2)).not.toBeNull();
  // One tensor.
  expect(await refusal({ tensorBytes: largest })).toBeNull();
  expect(await refusal({ tensorBytes: largest - 1 })).toMatch(/a tensor on it has at most/);
  // Nothing fits.
  expect(await refusal({ bytes: parameters })).toMatch(/Lower the resolution, or use a device with more memory/);
  expect(tf.memory().numTensors).toBe(before);
});

test('where nobody knows a limit, or it is far away, nothing is tried', async () => {
  let trials = 0;
  const counted = () => {
    const objective = denoising();
    const trial: typeof objective.trial = (model, source) => {
      const found = objective.trial(model, source);
      if (!found) return null;
      return {
        ...found,
        loss(...all) {
          trials++;
          return found.loss(...all);
        },
      };
    };
    return { ...objective, trial };
  };
  for (const [limits, expected] of [
    [{}, false],
    [{ bytes: 2 ** 40, tensorBytes: 2 ** 40 }, false],
    [{ bytes: 2 ** 28 }, true],
  ] as const) {
    trials = 0;
    const trainer = new Trainer(job(limits).with(counted()), { warn: () => {} });
    await trainer.explain();
    await trainer.dispose();
    expect(trials > 0).toBe(expected);
  }
});
