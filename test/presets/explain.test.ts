import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Composition, seededRandom, Trainer, weightsOf } from '../../core/index.js';
import * as tf from '../../core/tf.js';
import { wasm } from '../../plugins/devices/wasm.js';
import { buildAutoencoder } from '../../plugins/models/vae/autoencoder.js';
import { adamw8bit } from '../../plugins/optimizers/adamw8bit.js';
import { folder } from '../../plugins/persist/formats/folder.js';
import { OPTIMIZERS } from '../../presets/common/optimizers.js';
import { emojiBaseFolder } from '../../presets/common/package-root.js';
import { dreamboothLora } from '../../presets/dreambooth-lora.js';
import { emojiAutoencoderConfig } from '../../presets/emoji/model.js';
import { emoji } from '../../presets/emoji.js';
import { emojiBase } from '../../presets/emoji-base.js';
import { loraInMemory } from '../../presets/lora-in-memory.js';
import { loraTextToImage } from '../../presets/lora-text-to-image.js';
import { supervised } from '../../presets/supervised.js';
import { textToImage } from '../../presets/text-to-image.js';

/** Explains a preset without training. */
async function explained(preset: Composition) {
  const trainer = new Trainer(preset, { warn: () => undefined });
  try {
    return await trainer.explain();
  } finally {
    await trainer.dispose();
  }
}

const taps = (explanation: Awaited<ReturnType<typeof explained>>, hook: string) => explanation.hooks.find((h) => h.hook === hook)?.taps;

const UNET = 5_599_652;
// 3,473 tokens and 16 places, 128 wide, and the last norm.
const TEXT_ENCODER = (3473 + 16 + 2) * 128;

describe('explain', () => {
  let images: string;
  beforeAll(async () => {
    images = mkdtempSync(join(tmpdir(), 'steploom-explain-'));
    for (let i = 0; i < 10; i++) {
      const background = { r: 25 * i, g: 0, b: 0 };
      await sharp({ create: { width: 32, height: 32, channels: 3, background } })
        .png()
        .toFile(join(images, `${i}.png`));
      writeFileSync(join(images, `${i}.txt`), `red ${i}`);
    }
  });
  afterAll(() => rmSync(images, { recursive: true }));

  test('the main job', async () => {
    const e = await explained(await emoji({ device: 'wasm', quiet: true }));
    expect([e.plan.steps, e.plan.stepsPerEpoch, e.plan.effectiveBatch, e.plan.warmupSteps]).toEqual([250, 8, 8, 10]);
    expect([e.trainableTensors, e.trainableParameters]).toEqual([262, 519_744]);
    expect(e.optimizerBytes).toBe(8 * 519_744 + 16);
    expect(e.learningRates?.map(({ step, rates }) => [step, rates.unet])).toEqual([
      [0, 0],
      [1, expect.closeTo(2e-4, 10)],
      [10, 2e-3],
      [125, expect.closeTo(1.04e-3, 4)],
      [249, expect.closeTo(0, 6)],
    ]);
    expect(taps(e, 'prepareModel')).toEqual(['lora', 'checkpoint', 'cached-latents', 'denoising', 'graph-capture']);
    expect(taps(e, 'beforeStep')).toEqual(['clipping', 'non-finite-guard']);
    expect(taps(e, 'onSchedule')).toContain('warmup');
    expect(taps(e, 'onEnd')).toEqual([
      'run-folder',
      'non-finite-guard',
      'checkpoint',
      'denoising',
      'save-lora',
      'summary',
      'emoji-figures',
    ]);
    for (const { name } of e.plugins) expect(e.text).toContain(name);
  });

  test('the base', async () => {
    // Of small pictures: a thousand are drawn.
    const vae = await buildAutoencoder(emojiAutoencoderConfig(16), seededRandom(0));
    await vae.save(folder(images), weightsOf(vae), { scaling: 1 });
    for (const { variable } of vae.parameters.values()) variable.dispose();
    const e = await explained(await emojiBase({ device: 'wasm', quiet: true, pretrainedVaeModelNameOrPath: images }));
    expect([e.plan.steps, e.plan.items, e.trainableParameters]).toEqual([11600, 1067, UNET + TEXT_ENCODER]);
    expect(taps(e, 'afterStep')).toEqual(['ema']);
    expect(taps(e, 'onWeights')).toEqual(['ema']);
  });

  const options = { device: 'wasm', quiet: true, trainBatchSize: 4, lrWarmupSteps: 0 } as const;

  test('textToImage', async () => {
    const given = { ...options, trainDataDir: images, maxTrainSteps: 12, gradientAccumulationSteps: 2, useEma: true };
    const e = await explained(await textToImage(given));
    expect([e.plan.steps, e.plan.stepsPerEpoch, e.plan.effectiveBatch, e.plan.items]).toEqual([12, 2, 8, 10]);
    expect(e.trainableParameters).toBe(UNET);
    expect(taps(e, 'onWeights')).toEqual(['ema']);
    expect(taps(e, 'onSchedule')).toEqual(['constant']);
    const both = await explained(await textToImage({ ...given, trainTextEncoder: true }));
    expect(both.trainableParameters).toBe(UNET + TEXT_ENCODER);
  });

  test('loraTextToImage', async () => {
    const e = await explained(await loraTextToImage({ ...options, trainDataDir: images, numTrainEpochs: 3, rank: 2 }));
    expect([e.plan.steps, e.plan.epochs, e.plan.stepsPerEpoch]).toEqual([9, 3, 3]);
    expect(e.text).toContain('Data\n  pictures              32 x 32 pixels; 10 smaller than 128 x 128\n');
    expect(taps(e, 'prepareModel')).toEqual(['lora', 'checkpoint', 'cached-latents', 'denoising', 'graph-capture']);
    expect(e.plan.windowLength).toBe(1);
  });

  test('dreamboothLora draws no picture of the class', async () => {
    const prior = { withPriorPreservation: true, classDataDir: `${images}-class`, classPrompt: 'red', numClassImages: 12 };
    const e = await explained(await dreamboothLora({ ...options, instanceDataDir: images, instancePrompt: 'a sks', ...prior }));
    expect([e.plan.steps, e.plan.items, e.plan.effectiveBatch]).toEqual([3, 24, 8]);
    expect(taps(e, 'prepareModel')).toEqual(['class-pictures', 'lora', 'checkpoint', 'cached-latents', 'denoising', 'graph-capture']);
    expect(existsSync(prior.classDataDir)).toBe(false);
  });

  test('another optimizer by an option or by a word in code: the same run, nothing else changed', async () => {
    const small = { pretrainedModelNameOrPath: fileURLToPath(new URL('../fixtures/pipelines/sd15', import.meta.url)), resolution: 16 };
    // Matrices large enough for 8 bits.
    const given = { ...options, ...small, trainDataDir: images, maxTrainSteps: 4, rank: 1024 };
    const plain = await explained(await loraTextToImage(given));
    const others = await Promise.all([
      loraTextToImage({ ...given, use8bitAdam: true }),
      loraTextToImage({ ...given, optimizer: 'adamw8bit' }),
      loraTextToImage(given).then((preset) => preset.with(adamw8bit())),
    ]);
    for (const preset of others) {
      const e = await explained(preset);
      expect(e.plugins).toEqual(plain.plugins.map((p) => (p.fills === 'OPTIMIZER' ? { ...p, name: 'adamw8bit' } : p)));
      expect([e.plan, e.learningRates, e.trainableParameters]).toEqual([plain.plan, plain.learningRates, plain.trainableParameters]);
      expect(e.optimizerBytes).toBeLessThan(plain.optimizerBytes / 3);
    }
    for (const optimizer of OPTIMIZERS) {
      const e = await explained(await loraTextToImage({ ...given, optimizer }));
      expect(e.plugins.find(({ fills }) => fills === 'OPTIMIZER')?.name).toBe(optimizer);
    }
    await expect(loraTextToImage({ ...given, optimizer: 'lion', use8bitAdam: true })).rejects.toThrow(/OPTION_INVALID.*exclude each other/);
  });

  test('parameters without decay are named by an option', async () => {
    const e = await explained(await textToImage({ ...options, trainDataDir: images, maxTrainSteps: 4, decayExclude: ['bias', '*norm*'] }));
    expect(taps(e, 'prepareModel')).toEqual(['groups', 'checkpoint', 'cached-latents', 'denoising', 'graph-capture']);
    expect(Object.keys(e.learningRates?.[0].rates ?? {}).sort()).toEqual(['undecayed', 'unet']);
  });

  test('supervised', async () => {
    const model = tf.sequential({ layers: [tf.layers.dense({ inputShape: [3], units: 2 })] });
    const data = {
      x: { dtype: 'float32' as const, shape: [10, 3], data: new Float32Array(30) },
      y: { dtype: 'int32' as const, shape: [10], data: new Int32Array(10) },
    };
    const e = await explained(
      supervised({ model, device: wasm(), data, validation: data, loss: 'cross-entropy', epochs: 3, batchSize: 4 }),
    );
    expect([e.plan.steps, e.plan.stepsPerEpoch, e.trainableParameters]).toEqual([9, 3, 8]);
    expect(taps(e, 'onEvaluate')).toEqual(['evaluation']);
    model.dispose();
  });

  test('loraInMemory', async () => {
    const data = new Float32Array(6 * 32 * 32 * 3);
    const e = await explained(
      loraInMemory({
        model: folder(emojiBaseFolder()),
        device: wasm(),
        images: { dtype: 'float32', shape: [6, 32, 32, 3], data },
        captions: ['a', 'b', 'c', 'd', 'e', 'f'],
        steps: 5,
        batchSize: 3,
        warmupSteps: 1,
      }),
    );
    expect([e.plan.steps, e.plan.stepsPerEpoch, e.plan.warmupSteps]).toEqual([5, 2, 1]);
    expect(e.learningRates?.map(({ rates }) => rates.unet).slice(0, 2)).toEqual([0, 1e-4]);
    expect(taps(e, 'onSchedule')).toContain('warmup');
    expect(taps(e, 'onEnd')).toEqual(['denoising', 'non-finite-guard']);
  });
});
