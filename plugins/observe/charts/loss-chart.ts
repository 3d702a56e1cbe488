import type { FinishedRecord } from '../../../core/index.js';
import { drawing, stacked } from './png.js';

/** The mean of a tenth of the run around each value, of at most 50, so that it lags behind nowhere: single losses jump with t. */
function smoothed(values: readonly number[]): number[] {
  const side = Math.floor(Math.min(50, values.length / 10) / 2);
  return values.map((_, i) => {
    const around = values.slice(Math.max(0, i - side), i + side + 1);
    return around.reduce((sum, value) => sum + value) / around.length;
  });
}

const COLOURS = { steps: '#b8c4d8', mean: '#1f4e9c', held: '#2a9d4a', rate: '#b04a1f' };

/** Loss (single steps, their running mean, and what is held out) and learning rate over the steps, one above the other with a legend, as PNG. */
export async function lossChart(records: readonly FinishedRecord[]): Promise<Uint8Array> {
  const { Plot, chart, png } = await drawing();
  const finite = records.filter((r) => Number.isFinite(r.loss));
  const held = records.filter((r) => Number.isFinite(r['loss.held']));
  const means = smoothed(finite.map((r) => Number(r.loss)));
  const width = 720;
  const over = (marks: unknown[], label: string, height: number) => ({
    svg: chart({ width, height, marginLeft: 64, x: { label: 'step' }, y: { label, grid: true }, marks }),
    height,
  });
  const loss = over(
    [
      Plot.dot(finite, { x: 'step', y: 'loss', r: 1.5, fill: COLOURS.steps }),
      Plot.line(
        finite.map((r, i) => ({ step: r.step, mean: means[i] })),
        { x: 'step', y: 'mean', stroke: COLOURS.mean, strokeWidth: 2 },
      ),
      Plot.line(held, { x: 'step', y: 'loss.held', stroke: COLOURS.held, strokeWidth: 2 }),
      Plot.dot(held, { x: 'step', y: 'loss.held', r: 3, fill: COLOURS.held }),
    ],
    'loss',
    280,
  );
  const rate = over([Plot.line(finite, { x: 'step', y: 'learningRate', stroke: COLOURS.rate, strokeWidth: 2 })], 'learning rate', 180);
  return png(
    stacked(
      width,
      [loss, rate],
      [
        ['loss of a step', COLOURS.steps],
        ['running mean', COLOURS.mean],
        ...(held.length > 0 ? [['held out', COLOURS.held] as const] : []),
        ['learning rate', COLOURS.rate],
      ],
    ),
  );
}
