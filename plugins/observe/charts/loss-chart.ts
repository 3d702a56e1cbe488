import type { FinishedRecord } from '../../../core/index.js';

/** The running mean over about a fiftieth of the run: single losses jump with t. */
function smoothed(values: readonly number[]): number[] {
  const keep = 1 - 1 / Math.max(1, Math.min(50, values.length / 10));
  let mean = values[0];
  return values.map((value) => (mean = keep * mean + (1 - keep) * value));
}

/** Height of the legend, in pixels. */
const LEGEND = 28;

const COLOURS = { steps: '#b8c4d8', mean: '#1f4e9c', held: '#2a9d4a', rate: '#b04a1f' };

/** Loss (single steps, their running mean, and what is held out) and learning rate over the steps, one above the other with a legend, as PNG. */
export async function lossChart(records: readonly FinishedRecord[]): Promise<Uint8Array> {
  const [Plot, { parseHTML }, { Resvg }] = await Promise.all([import('@observablehq/plot'), import('linkedom'), import('@resvg/resvg-js')]);
  const { document } = parseHTML('<!doctype html><html><body></body></html>');
  const finite = records.filter((r) => Number.isFinite(r.loss));
  const held = records.filter((r) => Number.isFinite(r['loss.held']));
  const means = smoothed(finite.map((r) => Number(r.loss)));
  const width = 720;
  const chart = (marks: unknown[], label: string, height: number) =>
    Plot.plot({
      document: document as unknown as Document,
      width,
      height,
      marginLeft: 64,
      x: { label: 'step' },
      y: { label, grid: true },
      style: { background: 'white' },
      marks: marks as never,
    });
  const loss = chart(
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
  const rate = chart([Plot.line(finite, { x: 'step', y: 'learningRate', stroke: COLOURS.rate, strokeWidth: 2 })], 'learning rate', 180);
  const inner = (svg: unknown, y: number) => (svg as { outerHTML: string }).outerHTML.replace('<svg', `<svg x="0" y="${y}"`);
  const entries = [
    ['loss of a step', COLOURS.steps],
    ['running mean', COLOURS.mean],
    ...(held.length > 0 ? [['held out', COLOURS.held]] : []),
    ['learning rate', COLOURS.rate],
  ];
  const legend = entries
    .map(
      ([name, colour], i) =>
        `<g transform="translate(${64 + 150 * i},${LEGEND / 2})"><rect y="-2" width="24" height="4" fill="${colour}"/><text x="32" y="4" font-family="sans-serif" font-size="12">${name}</text></g>`,
    )
    .join('');
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${LEGEND + 460}"><rect width="100%" height="100%" fill="white"/>${legend}${inner(loss, LEGEND)}${inner(rate, LEGEND + 280)}</svg>`;
  return new Uint8Array(new Resvg(svg, { font: { loadSystemFonts: true }, background: 'white' }).render().asPng());
}
