import type { FinishedRecord } from '../../../core/index.js';

/** The running mean over about a fiftieth of the run: single losses jump with t. */
function smoothed(values: readonly number[]): number[] {
  const keep = 1 - 1 / Math.max(1, Math.min(50, values.length / 10));
  let mean = values[0];
  return values.map((value) => (mean = keep * mean + (1 - keep) * value));
}

/** Loss and learning rate over the steps, one above the other, as PNG. */
export async function lossChart(records: readonly FinishedRecord[]): Promise<Uint8Array> {
  const [Plot, { parseHTML }, { Resvg }] = await Promise.all([import('@observablehq/plot'), import('linkedom'), import('@resvg/resvg-js')]);
  const { document } = parseHTML('<!doctype html><html><body></body></html>');
  const finite = records.filter((r) => Number.isFinite(r.loss));
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
      Plot.dot(finite, { x: 'step', y: 'loss', r: 1.5, fill: '#b8c4d8' }),
      Plot.line(
        finite.map((r, i) => ({ step: r.step, mean: means[i] })),
        { x: 'step', y: 'mean', stroke: '#1f4e9c', strokeWidth: 2 },
      ),
    ],
    'loss',
    280,
  );
  const rate = chart([Plot.line(records, { x: 'step', y: 'learningRate', stroke: '#b04a1f', strokeWidth: 2 })], 'learning rate', 180);
  const inner = (svg: unknown, y: number) => (svg as { outerHTML: string }).outerHTML.replace('<svg', `<svg x="0" y="${y}"`);
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="460"><rect width="100%" height="100%" fill="white"/>${inner(loss, 0)}${inner(rate, 280)}</svg>`;
  return new Uint8Array(new Resvg(svg, { font: { loadSystemFonts: true }, background: 'white' }).render().asPng());
}
