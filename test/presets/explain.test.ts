import { describe, expect, test } from 'vitest';
import { Trainer } from '../../core/index.js';
import { emoji } from '../../presets/emoji/emoji.js';
import { emojiBase } from '../../presets/emoji/emoji-base.js';

/** Explains a preset without training. */
async function explained(preset: Awaited<ReturnType<typeof emoji>>) {
  const trainer = new Trainer(preset, { warn: () => undefined });
  try {
    return await trainer.explain();
  } finally {
    await trainer.dispose();
  }
}

const taps = (explanation: Awaited<ReturnType<typeof explained>>, hook: string) => explanation.hooks.find((h) => h.hook === hook)?.taps;

describe('explain', () => {
  test('the main job', async () => {
    const e = await explained(await emoji({ device: 'wasm', quiet: true }));
    expect([e.plan.steps, e.plan.stepsPerEpoch, e.plan.effectiveBatch, e.plan.warmupSteps]).toEqual([250, 8, 8, 10]);
    expect([e.trainableTensors, e.trainableParameters]).toEqual([262, 380_992]);
    expect(e.optimizerBytes).toBe(8 * 380_992 + 8);
    expect(e.learningRates?.map(({ step, rates }) => [step, rates.unet])).toEqual([
      [0, 0],
      [1, expect.closeTo(2e-4, 10)],
      [10, 2e-3],
      [125, expect.closeTo(1.04e-3, 4)],
      [249, expect.closeTo(0, 6)],
    ]);
    expect(taps(e, 'prepareModel')).toEqual(['lora']);
    expect(taps(e, 'beforeStep')).toEqual(['clipping', 'non-finite-guard']);
    expect(taps(e, 'onSchedule')).toEqual(['cosine', 'warmup']);
    expect(taps(e, 'onEnd')).toEqual(['non-finite-guard', 'save-lora', 'summary', 'emoji-figures']);
    for (const { name } of e.plugins) expect(e.text).toContain(name);
  });

  test('the base', async () => {
    const e = await explained(await emojiBase({ device: 'wasm', quiet: true }));
    expect([e.plan.steps, e.plan.items, e.trainableParameters]).toEqual([4400, 1067, 3_207_644]);
    expect(taps(e, 'afterStep')).toEqual(['ema']);
    expect(taps(e, 'onWeights')).toEqual(['ema']);
  });
});
