/** What a chart is drawn with, loaded when one is. */
export async function drawing() {
  const [Plot, { parseHTML }, { Resvg }] = await Promise.all([import('@observablehq/plot'), import('linkedom'), import('@resvg/resvg-js')]);
  const { document } = parseHTML('<!doctype html><html><body></body></html>');
  return {
    Plot,
    /** A chart on white, as the text of an SVG. */
    chart: (options: object): string =>
      (
        Plot.plot({ document: document as unknown as Document, style: { background: 'white' }, ...options }) as unknown as {
          outerHTML: string;
        }
      ).outerHTML,
    png: (svg: string): Uint8Array =>
      new Uint8Array(new Resvg(svg, { font: { loadSystemFonts: true }, background: 'white' }).render().asPng()),
  };
}

/** Charts one above the other below a legend: texts and their colours. */
export function stacked(
  width: number,
  charts: readonly { readonly svg: string; readonly height: number }[],
  legend: readonly (readonly [string, string])[],
): string {
  const entries = legend
    .map(
      ([name, colour], i) =>
        `<g transform="translate(${64 + 150 * i},${LEGEND / 2})"><rect y="-2" width="24" height="4" fill="${colour}"/><text x="32" y="4" font-family="sans-serif" font-size="12">${name}</text></g>`,
    )
    .join('');
  let y = LEGEND;
  const placed = charts.map(({ svg, height }) => {
    y += height;
    return svg.replace('<svg', `<svg x="0" y="${y - height}"`);
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${y}"><rect width="100%" height="100%" fill="white"/>${entries}${placed.join('')}</svg>`;
}

/** Height of the legend, in pixels. */
const LEGEND = 28;
