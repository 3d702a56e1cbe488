import { CHARTS_SCRIPT } from './charts.js';

/**
 * What the page does: it asks ./data every second for what is new, and draws it with uPlot. Charts, pictures and facts are changed where they stand, so that
 * all stays readable, and enlarged or zoomed as it is, while a run goes on and after its server is gone.
 */
export const PAGE_SCRIPT = `'use strict';
${CHARTS_SCRIPT}
const inWords = (value) => value === undefined ? '' : typeof value === 'string' ? value : JSON.stringify(value);
/** The step that a grid's name tells; before and after all of them. */
const stepOf = (name) => name === 'grid-before.png' ? 0 : Number(/^grid-(\\d+)\\.png$/.exec(name)?.[1] ?? Infinity);
/** One picture, the newest unless the slider chose another, with what was drawn in it. */
function drawPictures(run) {
  const pictures = [...run.pictures].sort((a, b) => stepOf(a.name) - stepOf(b.name));
  run.gallery.hidden = pictures.length === 0;
  if (pictures.length === 0) return;
  const [caption, button, slider, prompts] = run.gallery.children;
  const image = button.firstChild;
  const place = run.chosen ?? pictures.length - 1;
  const { name, time } = pictures[place];
  const source = './picture?run=' + encodeURIComponent(run.name) + '&name=' + encodeURIComponent(name) + '&time=' + time;
  if (image.getAttribute('src') !== source) image.setAttribute('src', source);
  const step = stepOf(name);
  caption.textContent = name + (step > 0 && step < Infinity ? ', after step ' + step : '');
  image.alt = caption.textContent;
  slider.hidden = pictures.length < 2;
  slider.max = pictures.length - 1;
  slider.value = place;
  slider.setAttribute('aria-valuetext', caption.textContent);
  prompts.textContent = [run.prompts ?? run.options?.validationPrompt ?? []].flat().join(' | ');
  if (large !== run) return;
  const [enlarged, told] = at('large').children;
  if (enlarged.getAttribute('src') !== source) enlarged.setAttribute('src', source);
  enlarged.alt = caption.textContent;
  told.textContent = run.name + ': ' + [caption.textContent, prompts.textContent].filter((text) => text).join(': ');
}
/** The run whose pictures are enlarged. */
let large = null;
/** The newest picture is none chosen, so that what is drawn next is shown. */
function choose(run, place) {
  const last = run.pictures.length - 1;
  run.chosen = place >= last ? undefined : Math.max(0, place);
  drawPictures(run);
}
/** What options differ between runs; where a run is written to always does. */
function differing() {
  const told = [...runs.values()].filter((run) => run.options);
  const names = new Set(told.flatMap((run) => Object.keys(run.options)));
  return [...names].filter((name) => !['outputDir', 'uiPort', 'quiet'].includes(name) && new Set(told.map((run) => inWords(run.options[name]))).size > 1);
}
const isOver = (run) => run.gone || !['running', undefined].includes(run.state);
/** In one word whether a run goes on; a server that is gone leaves that of its own run open. */
function badge(run) {
  const state = run.gone ? 'gone' : run.state;
  return state ? [node('span', { class: 'badge', 'data-state': state }, run.gone ? 'no answer' : state)] : [];
}
/** What is read out to whoever does not see the page. */
const announce = (text) => { at('said').textContent = text; };
/** A row for each run: it is chosen there, and what tells it from the others stands beside it. */
function drawTable() {
  const table = at('table');
  table.hidden = runs.size < 2;
  if (table.hidden) return;
  const names = differing();
  const rows = [...runs.values()].map((run) => {
    const steps = run.records.filter((r) => typeof r.loss === 'number');
    const last = steps.at(-1);
    const held = run.records.flatMap((r) => typeof r['loss.held'] === 'number' ? [r['loss.held']] : []);
    return { run, cells: [last?.step, short(last?.loss), held.length > 0 ? short(Math.min(...held)) : '', last ? lasting(last.seconds) : '', leftOf(run), ...names.map((name) => inWords(run.options?.[name]))].map((cell) => cell === undefined ? '' : String(cell)) };
  });
  const key = JSON.stringify([names, rows.map(({ run, cells }) => [run.name, run.gone, run.state, run.error, cells])]);
  if (table.told === key) return;
  table.told = key;
  const head = node('tr');
  head.append(...['run', 'state', 'step', 'loss', 'least held out', 'time', 'left', ...names].map((text) => node('th', { scope: 'col' }, text)));
  table.replaceChildren(head, ...rows.map(({ run, cells }) => {
    const row = node('tr');
    const first = node('th', { scope: 'row' });
    first.append(run.label);
    const state = node('td', run.error ? { title: run.error } : {});
    state.append(...badge(run));
    row.append(first, state, ...cells.map((text) => node('td', { title: text }, text)));
    return row;
  }));
}
function drawRun(run) {
  let part = run.part;
  if (!part) {
    part = run.part = node('section', { 'data-run': run.name });
    run.facts = node('p', { class: 'facts' });
    run.fault = node('p', { class: 'fault' });
    run.button = node('button', {}, 'Stop after this step');
    run.button.onclick = () => { run.stopping = true; draw(); fetch('./stop', { method: 'POST', headers: { 'x-steploom': '1' } }).catch(() => undefined); };
    run.gallery = node('figure', { class: 'gallery' });
    run.gallery.append(node('figcaption'), node('button', { title: 'Enlarge' }), node('input', { type: 'range', min: 0, 'aria-label': 'Pictures over steps' }), node('p', { class: 'prompts' }));
    const [, button, slider] = run.gallery.children;
    button.append(node('img'));
    button.onclick = () => { large = run; drawPictures(run); at('large').showModal(); };
    slider.oninput = () => choose(run, Number(slider.value));
    run.settings = node('details');
    run.settings.append(node('summary', {}, 'Options'), node('pre'));
    run.plan = node('details');
    run.plan.append(node('summary', {}, 'The plan, and who runs when'), node('pre'));
    part.append(node('h2', { style: 'border-color:' + run.colour }, run.name), run.facts, run.fault, run.button, run.gallery, run.settings, run.plan);
    at('runs').append(part);
  }
  part.hidden = hidden.has(run.name);
  const steps = run.records.filter((r) => r.loss !== undefined);
  const last = steps.at(-1);
  const facts = [last ? 'step ' + last.step + (run.steps ? ' of ' + run.steps : '') : 'no step yet'];
  if (last && Number.isFinite(last.seconds)) facts.push(lasting(last.seconds) + ' elapsed');
  const left = leftOf(run);
  if (left) facts.push(left + ' left');
  if (run.memory) facts.push((run.memory.resident / 2 ** 20).toFixed(0) + ' MiB resident', (run.memory.tensors / 2 ** 20).toFixed(0) + ' MiB of tensors');
  if (run.changed) facts.push('last written ' + new Date(run.changed).toLocaleString());
  run.facts.textContent = facts.join(', ');
  run.facts.prepend(...badge(run), ' ');
  run.fault.hidden = !run.error;
  run.fault.textContent = run.error ?? '';
  run.button.hidden = !run.live || isOver(run);
  run.button.disabled = run.stopping === true;
  run.button.textContent = run.stopping ? 'stopping' : 'Stop after this step';
  drawPictures(run);
  run.settings.hidden = !run.options;
  // A resumed run may have others.
  tell(run.settings.lastChild, Object.entries(run.options ?? {}).map(([name, value]) => name + ': ' + inWords(value)).join('\\n'));
  run.plan.hidden = !run.explanation;
  tell(run.plan.lastChild, run.explanation ?? '');
}
function draw() {
  at('loading').hidden = true;
  at('none').hidden = runs.size > 0;
  drawCharts();
  const boxes = [...runs.values()].map((run) => {
    if (run.label) return run.label;
    const box = node('input', { type: 'checkbox' });
    box.checked = true;
    box.onchange = () => { box.checked ? hidden.delete(run.name) : hidden.add(run.name); draw(); };
    const swatch = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
    swatch.setAttribute('class', 'swatch');
    const line = document.createElementNS('http://www.w3.org/2000/svg', 'line');
    for (const [key, value] of Object.entries({ x1: 0, x2: 28, y1: 5, y2: 5, stroke: run.colour, 'stroke-width': 2, 'stroke-dasharray': run.dash.join(' ') })) line.setAttribute(key, value);
    swatch.append(line);
    run.label = node('label');
    run.label.append(box, swatch, run.name);
    return run.label;
  });
  const choices = at('choices');
  if (boxes.length < 2) choices.replaceChildren(...boxes);
  else choices.replaceChildren();
  drawTable();
  for (const run of runs.values()) drawRun(run);
}
/** What is said where nobody answers: of runs that are over it was said already. */
function silent() {
  const live = [...runs.values()].filter((run) => run.live);
  const lost = live.filter((run) => !isOver(run));
  for (const run of lost) run.gone = true;
  const told = at('state');
  if (!told.hidden) return;
  told.hidden = false;
  told.textContent = (live.length === 0 ? 'Nobody answers here any more.' : lost.length > 0 ? 'The run no longer answers: it was ended from outside, or has died.' : 'The run is over.') + ' What was last told, at ' + new Date().toLocaleTimeString() + ', stays here.';
  if (runs.size === 0) { at('loading').hidden = true; told.textContent = 'Nobody answers here.'; }
  else draw();
  document.title = live.length > 0 ? 'steploom (over)' : 'steploom (no answer)';
}
async function ask() {
  try {
    const since = Object.fromEntries([...runs.values()].map((run) => [run.name, [run.generation ?? 0, run.records.length]]));
    const answer = await fetch('./data?since=' + encodeURIComponent(JSON.stringify(since)));
    if (answer.status === 429) return;
    if (!answer.ok) throw new Error(await answer.text());
    const facts = (run) => JSON.stringify([run.options, run.pictures, run.state, run.error, run.steps, run.explanation, run.memory, run.changed]);
    let changed = runs.size === 0;
    for (const { name, from, records, ...rest } of await answer.json()) {
      const number = runs.size;
      const run = runs.get(name) ?? { name, colour: COLOURS[number % COLOURS.length], dash: DASHES[(number + Math.floor(number / COLOURS.length)) % DASHES.length], records: [] };
      const [before, state] = [facts(run), run.state];
      if (from === 0) run.records = [];
      run.records.push(...records);
      Object.assign(run, rest, { gone: false });
      if (!runs.has(name) || records.length > 0 || before !== facts(run)) changed = true;
      if (state && state !== run.state) announce(name + ': ' + run.state);
      runs.set(name, run);
    }
    if (!at('state').hidden) { at('state').hidden = true; document.title = 'steploom'; changed = true; }
    if (changed) draw();
  } catch {
    silent();
  } finally {
    setTimeout(ask, 1000);
  }
}
at('x').onchange = (event) => { view.x = event.target.value; draw(); };
at('log').onchange = (event) => { view.log = event.target.checked; draw(); };
at('smoothing').oninput = (event) => { view.smoothing = Number(event.target.value); at('smoothed').textContent = event.target.value; draw(); };
at('whole').onclick = showWhole;
at('large').onclick = () => at('large').close();
at('large').onclose = () => { large = null; };
at('large').onkeydown = ({ key }) => {
  const by = { ArrowLeft: -1, ArrowRight: 1 }[key];
  if (by && large) choose(large, (large.chosen ?? large.pictures.length - 1) + by);
};
at('large').firstElementChild.onload = ({ target }) => {
  const scale = Math.min(0.92 * innerWidth / target.naturalWidth, 0.8 * innerHeight / target.naturalHeight);
  target.style.width = scale * target.naturalWidth + 'px';
  // Small pictures keep their pixels; a large one is not to look as though it had any.
  target.style.imageRendering = scale > 2 ? 'pixelated' : 'auto';
};
addEventListener('resize', () => { for (const { plot, figure } of charts.values()) plot.setSize({ width: Math.max(260, figure.clientWidth - 18), height: 200 }); });
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => { for (const { plot } of charts.values()) plot.redraw(false, true); });
ask();
`;
