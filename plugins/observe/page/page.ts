/**
 * The page that shows runs: one file, nothing from elsewhere. It asks ./data every second for what is new, and draws lines into SVG.
 */
export const PAGE_HTML = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>steploom</title>
<style>
  :root { color-scheme: light dark; --line: #8884; }
  body { font: 14px/1.4 system-ui, sans-serif; margin: 0; padding: 1rem 1.5rem; }
  h1 { font-size: 1.1rem; margin: 0 1rem 0 0; display: inline-block; }
  header { display: flex; flex-wrap: wrap; align-items: center; gap: .75rem; margin-bottom: 1rem; }
  label { white-space: nowrap; }
  .charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(340px, 1fr)); gap: 1rem; }
  figure { margin: 0; border: 1px solid var(--line); border-radius: 6px; padding: .5rem; }
  figcaption { font-weight: 600; }
  svg { width: 100%; height: 180px; display: block; }
  svg text { font-size: 10px; fill: currentColor; opacity: .7; }
  section { border-top: 1px solid var(--line); margin-top: 1rem; padding-top: .75rem; }
  img { max-width: 100%; image-rendering: pixelated; border: 1px solid var(--line); }
  pre { overflow-x: auto; font-size: 12px; }
  button { padding: .3rem .8rem; }
  .facts { opacity: .8; }
</style>
<header><h1>steploom</h1><span id="choices"></span></header>
<main><div class="charts" id="charts"></div><div id="runs"></div></main>
<script>
'use strict';
const COLOURS = ['#1f6fd0', '#d0541f', '#2a9d4a', '#8d44c7', '#c7a511', '#13a3a3', '#c72c6b', '#777'];
const runs = new Map();
const hidden = new Set();
const short = (x) => typeof x === 'number' ? (Math.abs(x) >= 1e5 || (x !== 0 && Math.abs(x) < 1e-3) ? x.toExponential(2) : String(+x.toPrecision(4))) : String(x);
const node = (name, attributes = {}, text) => {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
};
/** Steps a second between each record and the one before. */
const speeds = (records) => records.slice(1).map((r, i) => ({ step: r.step, 'steps a second': (r.step - records[i].step) / (r.seconds - records[i].seconds) }))
  .filter((r) => Number.isFinite(r['steps a second']) && r['steps a second'] > 0);
function chart(name, series) {
  const points = series.flatMap((s) => s.points);
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  svg.setAttribute('viewBox', '0 0 400 180');
  svg.setAttribute('preserveAspectRatio', 'none');
  const add = (tag, attributes, text) => {
    const made = document.createElementNS('http://www.w3.org/2000/svg', tag);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    svg.append(made);
  };
  if (points.length > 0) {
    const xs = points.map((p) => p[0]), ys = points.map((p) => p[1]);
    const least = (list) => list.reduce((a, b) => Math.min(a, b)), most = (list) => list.reduce((a, b) => Math.max(a, b));
    const [x0, x1, y0, y1] = [least(xs), most(xs), least(ys), most(ys)];
    const px = (x) => 48 + (340 * (x - x0)) / (x1 - x0 || 1), py = (y) => 160 - (145 * (y - y0)) / (y1 - y0 || 1);
    for (const [y, text] of [[y0, short(y0)], [y1, short(y1)]]) {
      add('line', { x1: 48, x2: 388, y1: py(y), y2: py(y), stroke: '#8884' });
      add('text', { x: 44, y: py(y) + 3, 'text-anchor': 'end' }, text);
    }
    add('text', { x: 48, y: 175 }, short(x0));
    add('text', { x: 388, y: 175, 'text-anchor': 'end' }, short(x1));
    for (const s of series)
      add('polyline', { points: s.points.map((p) => px(p[0]).toFixed(1) + ',' + py(p[1]).toFixed(1)).join(' '), fill: 'none', stroke: s.colour, 'stroke-width': 1.5, 'vector-effect': 'non-scaling-stroke' });
  }
  const figure = node('figure', { 'data-chart': name });
  figure.append(node('figcaption', {}, name), svg);
  return figure;
}
function draw() {
  const shown = [...runs.values()].filter((run) => !hidden.has(run.name));
  const fields = new Set();
  for (const run of runs.values()) for (const r of run.records) for (const key of Object.keys(r)) if (typeof r[key] === 'number' && !['step', 'epoch', 'seconds'].includes(key)) fields.add(key);
  const charts = [...fields].map((field) => chart(field, shown.map((run) => ({ colour: run.colour, points: run.records.filter((r) => Number.isFinite(r[field])).map((r) => [r.step, r[field]]) }))));
  if (runs.size > 0) charts.push(chart('steps a second', shown.map((run) => ({ colour: run.colour, points: speeds(run.records.filter((r) => r.loss !== undefined)).map((r) => [r.step, r['steps a second']]) }))));
  document.getElementById('charts').replaceChildren(...charts);
  document.getElementById('choices').replaceChildren(...[...runs.values()].map((run) => {
    const box = node('input', { type: 'checkbox' });
    box.checked = !hidden.has(run.name);
    box.onchange = () => { box.checked ? hidden.delete(run.name) : hidden.add(run.name); draw(); };
    const label = node('label', { style: 'color:' + run.colour });
    label.append(box, ' ' + run.name);
    return label;
  }));
  document.getElementById('runs').replaceChildren(...shown.map((run) => {
    const part = node('section', { 'data-run': run.name });
    part.append(node('h2', { style: 'font-size:1rem;color:' + run.colour }, run.name));
    const last = run.records.at(-1);
    const facts = [last ? 'step ' + last.step + (run.steps ? ' of ' + run.steps : '') : 'no step yet'];
    if (run.memory) facts.push((run.memory.resident / 2 ** 20).toFixed(0) + ' MiB resident', (run.memory.tensors / 2 ** 20).toFixed(0) + ' MiB of tensors');
    if (run.ended) facts.push('ended');
    part.append(node('p', { class: 'facts' }, facts.join(', ')));
    if (run.live && !run.ended) {
      const stop = node('button', {}, run.stopping ? 'stopping' : 'Stop after this step');
      stop.disabled = run.stopping === true;
      stop.onclick = () => { run.stopping = true; draw(); fetch('./stop', { method: 'POST', headers: { 'x-steploom': '1' } }); };
      part.append(stop);
    }
    for (const picture of [...run.pictures].reverse()) {
      const figure = node('figure');
      figure.append(node('figcaption', {}, picture.name), node('img', { src: './picture?run=' + encodeURIComponent(run.name) + '&name=' + encodeURIComponent(picture.name) + '&time=' + picture.time, alt: picture.name }));
      part.append(figure);
    }
    if (run.explanation) {
      const details = node('details');
      details.open = run.open === true;
      details.ontoggle = () => { run.open = details.open; };
      details.append(node('summary', {}, 'The plan, and who runs when'), node('pre', {}, run.explanation));
      part.append(details);
    }
    return part;
  }));
}
async function ask() {
  try {
    const since = Object.fromEntries([...runs.values()].map((run) => [run.name, [run.generation ?? 0, run.records.length]]));
    const answer = await fetch('./data?since=' + encodeURIComponent(JSON.stringify(since)));
    if (!answer.ok) throw new Error(await answer.text());
    let changed = false;
    for (const { name, from, records, ...rest } of await answer.json()) {
      const run = runs.get(name) ?? { name, colour: COLOURS[runs.size % COLOURS.length], records: [] };
      const before = JSON.stringify([run.pictures, run.ended, run.explanation, run.memory]);
      if (from === 0) run.records = [];
      run.records.push(...records);
      Object.assign(run, rest);
      if (!runs.has(name) || records.length > 0 || before !== JSON.stringify([run.pictures, run.ended, run.explanation, run.memory])) changed = true;
      runs.set(name, run);
    }
    if (changed) draw();
  } catch (error) {
    document.title = 'steploom (no answer)';
  }
  setTimeout(ask, 1000);
}
ask();
</script>
</html>
`;
