import type { LearningRates } from '../../../core/index.js';
import { drawing, stacked } from './png.js';

const COLOURS = { steps: '#b8c4d8', mean: '#1f4e9c', suggestion: '#b04a1f' };

/** What a range test found, as PNG: each step's loss and the running mean over the rate, whose axis is logarithmic, and the suggestion. Needs Node. */
export async function learningRateChart({ rates, losses, smoothed, suggestion }: LearningRates): Promise<Uint8Array> {
  const { Plot, chart, png } = await drawing();
  const steps = rates.map((rate, i) => ({ rate, loss: losses[i], mean: smoothed[i] }));
  // A loss that diverges would press the rest into a line.
  const top = 2 * Math.max(...smoothed.slice(0, Math.max(1, Math.ceil(smoothed.length / 2))));
  const [width, height] = [720, 320];
  const svg = chart({
    width,
    height,
    marginLeft: 64,
    x: { label: 'learning rate', type: 'log' },
    y: { label: 'loss', grid: true, domain: [Math.min(...losses), Math.min(top, Math.max(...losses))], clamp: true },
    marks: [
      Plot.dot(steps, { x: 'rate', y: 'loss', r: 1.5, fill: COLOURS.steps }),
      Plot.line(steps, { x: 'rate', y: 'mean', stroke: COLOURS.mean, strokeWidth: 2 }),
      ...(suggestion === null ? [] : [Plot.ruleX([suggestion], { stroke: COLOURS.suggestion, strokeWidth: 2 })]),
    ],
  });
  return png(
    stacked(
      width,
      [{ svg, height }],
      [
        ['loss of a step', COLOURS.steps],
        ['running mean', COLOURS.mean],
        ...(suggestion === null ? [] : [[`suggestion: ${suggestion.toPrecision(2)}`, COLOURS.suggestion] as const]),
      ],
    ),
  );
}
