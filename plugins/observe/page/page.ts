import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { PAGE_SCRIPT } from './script.js';

const STYLE = `
  :root { color-scheme: light dark; --line: #8884; }
  body { font: 14px/1.4 system-ui, sans-serif; margin: 0; padding: 1rem 1.5rem; }
  [hidden] { display: none !important; }
  h1 { font-size: 1.1rem; margin: 0 1rem 0 0; display: inline-block; }
  h2 { font-size: 1rem; border-left: 6px solid; padding-left: .5rem; overflow-wrap: anywhere; }
  header, .controls, #choices { display: flex; flex-wrap: wrap; align-items: center; gap: .5rem 1rem; }
  header { margin-bottom: .5rem; }
  .controls { margin-bottom: 1rem; }
  label { white-space: nowrap; }
  #state { border: 1px solid #d0541f; border-radius: 6px; padding: .5rem .75rem; }
  .swatch { width: 28px; height: 10px; margin: 0 .3rem; }
  .charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(360px, 100%), 1fr)); gap: 1rem; }
  figure { margin: 0; border: 1px solid var(--line); border-radius: 6px; padding: .5rem; min-width: 0; }
  figcaption { display: flex; flex-wrap: wrap; gap: 0 .75rem; }
  figcaption span { opacity: .8; }
  .u-legend { font-size: 12px; text-align: left; }
  .u-legend .raw { display: none; }
  .u-legend .u-marker { width: 24px; height: 0; border-width: 3px 0 0 !important; }
  .gallery { display: inline-block; max-width: 100%; box-sizing: border-box; margin: .75rem 0; }
  .gallery button { padding: 0; border: 0; background: none; display: block; cursor: zoom-in; }
  .gallery img { display: block; max-height: 480px; }
  .gallery input { display: block; width: 100%; }
  .prompts { margin: .25rem 0 0; opacity: .8; }
  dialog { padding: .5rem; border: 1px solid var(--line); cursor: zoom-out; }
  dialog img { display: block; max-width: 92vw; max-height: 80vh; object-fit: contain; border: 0; }
  dialog p { margin: .5rem 0 0; max-width: 92vw; width: 0; min-width: 100%; }
  .scroll { overflow-x: auto; margin-bottom: 1rem; }
  #table { border-collapse: collapse; font-size: 13px; }
  #table th, #table td { text-align: left; padding: .2rem .75rem .2rem 0; border-bottom: 1px solid var(--line); white-space: nowrap; font-weight: normal; max-width: 22rem; overflow: hidden; text-overflow: ellipsis; }
  section { border-top: 1px solid var(--line); margin-top: 1rem; padding-top: .25rem; }
  img { max-width: 100%; border: 1px solid var(--line); }
  pre { overflow-x: auto; font-size: 12px; }
  button { padding: .3rem .8rem; }
  .badge { border: 1px solid; border-radius: 1em; padding: 0 .6em; white-space: nowrap; }
  .badge::before { margin-right: .3em; }
  .badge[data-state=running] { color: light-dark(#0a58b5, #7fb5ff); }
  .badge[data-state=running]::before { content: '\\25B6' / ''; }
  .badge[data-state=done] { color: light-dark(#1a7030, #5fd07c); }
  .badge[data-state=done]::before { content: '\\2713' / ''; }
  .badge[data-state=stopped] { color: light-dark(#7a5b00, #e2bd4c); }
  .badge[data-state=stopped]::before { content: '\\25A0' / ''; }
  .badge[data-state=failed], .fault { color: light-dark(#b3261e, #ff8f86); }
  .badge[data-state=failed]::before { content: '\\2717' / ''; }
  .badge[data-state=died], .badge[data-state=gone] { border-style: dashed; opacity: .8; }
  .badge[data-state=died]::before { content: '\\2020' / ''; }
  .fault { overflow-wrap: anywhere; }
  #said { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  @media (max-width: 480px) { body { padding: .75rem; } }
`;

const BODY = `
<header><h1>steploom</h1><span id="choices" role="group" aria-label="Runs"></span></header>
<p id="state" role="status" hidden></p>
<p id="said" role="status"></p>
<div class="controls">
  <label>over <select id="x"><option value="step">steps</option><option value="epoch">epochs</option><option value="time">time</option></select></label>
  <label>smoothing <input id="smoothing" type="range" min="0" max="0.99" step="0.01" value="0"> <output id="smoothed">0</output></label>
  <label><input id="log" type="checkbox"> logarithmic</label>
  <button id="whole" disabled>The whole run</button>
</div>
<div class="scroll"><table id="table" aria-label="Runs" hidden></table></div>
<main><p id="loading" role="status">Loading</p><p id="none" hidden>There is no run yet.</p><div class="charts" id="charts"></div><div id="runs"></div></main>
<dialog id="large" aria-label="The picture, enlarged"><img alt=""><p></p></dialog>
`;

let page: Promise<string> | null = null;

async function build(): Promise<string> {
  const resolve = createRequire(import.meta.url).resolve;
  const [script, style] = await Promise.all(
    ['uPlot.iife.min.js', 'uPlot.min.css'].map((name) => readFile(resolve(`uplot/dist/${name}`), 'utf8')),
  );
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>steploom</title>
<style>${style}${STYLE}</style>
${BODY}
<script>${script}</script>
<script>
${PAGE_SCRIPT}</script>
</html>
`;
}

/** The page that shows runs: one file with all that it needs in it, uPlot too, nothing from elsewhere. */
export const pageHtml = (): Promise<string> => {
  page ??= build();
  return page;
};
