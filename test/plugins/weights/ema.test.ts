import { readFile } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import { type Plugin, Trainer } from '../../../core/index.js';
import { sgd } from '../../../plugins/optimizers/sgd.js';
import { emaDecay } from '../../../plugins/weights/average/decay.js';
import { type EMAOptions, ema } from '../../../plugins/weights/ema.js';
import { smallRun, weightsRecorder } from '../../support/small-run.js';

/** What evaluation would be given of the weight w when a run ends. */
function averagesAtEnd() {
  const w: number[] = [];
  const plugin: Plugin = {
    name: 'end',
    apply: (host) =>
      host.hooks.onEnd.tap(() => {
        w.push(...host.weights('evaluate').w.dataSync());
      }),
  };
  return { plugin, w };
}

describe('ema', () => {
  test('decays and averages are those of diffusers’ EMAModel', async () => {
    const golden = JSON.parse(await readFile(new URL('../../fixtures/ema-golden.json', import.meta.url), 'utf8')) as {
      walks: { options: Record<string, number | boolean>; decays: number[]; rows: number[][] }[];
    };
    for (const { options, decays, rows } of golden.walks) {
      const own: EMAOptions = {
        decay: options.decay as number,
        warmup: options.use_ema_warmup ? 'power' : 'ratio',
        ...(options.power === undefined ? {} : { power: options.power as number }),
        ...(options.inv_gamma === undefined ? {} : { invGamma: options.inv_gamma as number }),
        ...(options.update_after_step === undefined ? {} : { updateAfterStep: options.update_after_step as number }),
        ...(options.min_decay === undefined ? {} : { minDecay: options.min_decay as number }),
      };
      let [p, average] = [
        [1, -2, 0.5],
        [1, -2, 0.5],
      ];
      for (const [step, decay] of decays.entries()) {
        expect(emaDecay(step, own)).toBeCloseTo(decay, 12);
        p = p.map((x, i) => x + [Math.sin(step + 1), Math.cos(2 * (step + 1)), 0.1][i]);
        average = average.map((a, i) => a + (p[i] - a) * (1 - emaDecay(step, own)));
        for (const [i, a] of average.entries()) expect(a).toBeCloseTo(rows[step][i], 5);
      }
    }
  });

  test('the plugin averages with those decays', async () => {
    const options: EMAOptions = { decay: 0.7, warmup: 'power', updateAfterStep: 1 };
    const weights = weightsRecorder();
    const averages = averagesAtEnd();
    await new Trainer(smallRun().with(sgd(), ema(options), weights.plugin, averages.plugin)).train();
    let expected = weights.steps[0].w;
    for (const [step, { w }] of weights.steps.entries()) expected = expected.map((x, i) => x + (w[i] - x) * (1 - emaDecay(step, options)));
    for (const [i, x] of expected.entries()) expect(averages.w[i]).toBeCloseTo(x, 6);
  });

  test('averages after each step, restarts, and is given out without touching the weights', async () => {
    const weights = weightsRecorder();
    const averages = averagesAtEnd();
    await new Trainer(smallRun().with(sgd(), ema({ decay: 0.75, restartAt: 2 }), weights.plugin, averages.plugin)).train();
    let expected = weights.steps[2].w;
    for (const { w } of weights.steps.slice(3)) expected = expected.map((x, i) => x + (w[i] - x) * 0.25);
    for (const [i, x] of expected.entries()) expect(averages.w[i]).toBeCloseTo(x, 5);
    expect(averages.w).not.toEqual(weights.steps.at(-1)?.w);
  });
});
