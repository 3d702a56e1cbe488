import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { expect, test } from 'vitest';
import { Trainer } from '../../../core/index.js';
import { arrays } from '../../../plugins/data/arrays.js';
import { evaluation } from '../../../plugins/observe/evaluation.js';
import { summary } from '../../../plugins/observe/summary.js';
import { examples, smallRun, weightsRecorder } from '../../support/small-run.js';

test('a plot has the loss, its mean and the rate, and what is held out where something is', async () => {
  const out = await mkdtemp(join(tmpdir(), 'steploom-plot-'));
  const held = evaluation(arrays(examples(4), { batchSize: 4, shuffle: false }), { every: 4 });
  const run = (name: string) => smallRun({ steps: 12 }).with(weightsRecorder().plugin, summary(join(out, name)));
  /** Pixels that are greener than anything else, as the held-out loss is, above the learning rate, and in the legend. */
  const greens = async (name: string) => {
    const { data, info } = await sharp(await readFile(join(out, name, 'plot.png')))
      .removeAlpha()
      .raw()
      .toBuffer({ resolveWithObject: true });
    const found = Array.from({ length: data.length / 3 }, (_, i) => i).filter(
      (i) => data[3 * i + 1] > 40 + Math.max(data[3 * i], data[3 * i + 2]),
    );
    const inLegend = found.filter((i) => i < 28 * info.width).length;
    return { size: [info.width, info.height], inLegend, inChart: found.length - inLegend };
  };
  await new Trainer(run('with').with(held)).train();
  await new Trainer(run('without')).train();
  const [with_, without] = [await greens('with'), await greens('without')];
  expect(without).toEqual({ size: [720, 488], inLegend: 0, inChart: 0 });
  expect(with_.inLegend).toBeGreaterThan(50);
  expect(with_.inChart).toBeGreaterThan(100);
  await rm(out, { recursive: true });
});
