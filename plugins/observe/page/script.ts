/**
 * What the page does: it asks ./data every second for what is new, and draws it with uPlot. Charts, pictures and facts are changed where they stand, so that
 * all stays readable, and enlarged or zoomed as it is, while a run goes on and after its server is gone.
 */
export const PAGE_SCRIPT = `'use strict';
const COLOURS = ['#1f6fd0', '#d0541f', '#2a9d4a', '#8d44c7', '#c7a511', '#13a3a3', '#c72c6b', '#777'];
// Runs whose lines cover each other are told apart by these, too.
const DASHES = [[], [8, 4], [2, 3], [10, 3, 2, 3]];
const SPEED = 'steps a second';
const runs = new Map();
const hidden = new Set();
const charts = new Map();
const view = { x: 'step', log: false, smoothing: 0 };
const at = (id) => document.getElementById(id);
const short = (x) => typeof x === 'number' ? (Math.abs(x) >= 1e5 || (x !== 0 && Math.abs(x) < 1e-3) ? x.toExponential(2) : String(+x.toPrecision(4))) : x === null || x === undefined ? '' : String(x);
const lasting = (s) => !Number.isFinite(s) ? '?' : s < 60 ? Math.round(s) + ' s' : s < 3600 ? Math.floor(s / 60) + ' min ' + Math.round(s % 60) + ' s' : Math.floor(s / 3600) + ' h ' + Math.floor((s % 3600) / 60) + ' min';
const node = (name, attributes = {}, text) => {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
};
/** Leaves what is selected as it is where nothing is new. */
const tell = (element, text) => { if (element.textContent !== text) element.textContent = text; };
/** Over so many seconds at least, or a fiftieth of the run: records that come at once after a pause are no speed. */
function speeds(records) {
  const steps = records.filter((r) => r.loss !== undefined && Number.isFinite(r.seconds));
  if (steps.length < 2) return [];
  const window = Math.max(2, (steps.at(-1).seconds - steps[0].seconds) / 50);
  const found = [];
  for (let i = 1, from = 0; i < steps.length; i++) {
    while (from + 1 < i && steps[i].seconds - steps[from + 1].seconds >= window) from++;
    const seconds = steps[i].seconds - steps[from].seconds;
    if (seconds >= window || (i === steps.length - 1 && found.length === 0 && seconds > 0))
      found.push({ ...steps[i], [SPEED]: (steps[i].step - steps[from].step) / seconds });
  }
  return found;
}
/** Steps of an epoch: those that the run says, or as its records have them. */
function epochLength(run) {
  if (run.stepsPerEpoch) return run.stepsPerEpoch;
  const lengths = run.records.filter((r) => r.epoch > 0).map((r) => (r.step - 1) / r.epoch);
  return lengths.length > 0 ? lengths.reduce((a, b) => Math.min(a, b)) : run.records.at(-1)?.step || 1;
}
const xOf = (run) => {
  if (view.x === 'time') return (r) => r.seconds;
  if (view.x === 'step') return (r) => r.step;
  const length = epochLength(run);
  return (r) => r.step / length;
};
/** How long a run that goes on still takes, in words, at the speed that it has now. */
function leftOf(run) {
  const [last] = run.records.filter((r) => r.loss !== undefined).slice(-1);
  const speed = speeds(run.records).at(-1)?.[SPEED];
  return !last || !run.steps || !speed || isOver(run) ? '' : lasting((run.steps - last.step) / speed);
}
/** Points in the order of x, each once. */
function pointsOf(run, field) {
  const x = xOf(run);
  const [xs, ys] = [[], []];
  for (const r of field === SPEED ? speeds(run.records) : run.records) {
    const [px, py] = [x(r), r[field]];
    if (!Number.isFinite(px) || !Number.isFinite(py) || (view.log && py <= 0)) continue;
    if (xs.length > 0 && px <= xs[xs.length - 1]) continue;
    xs.push(px);
    ys.push(py);
  }
  return [xs, ys];
}
/** The running mean, begun without a bias. */
function smooth(ys) {
  let [sum, weight] = [0, 0];
  return ys.map((y) => {
    sum = view.smoothing * sum + (1 - view.smoothing) * y;
    weight = view.smoothing * weight + (1 - view.smoothing);
    return sum / weight;
  });
}
const ink = () => getComputedStyle(document.body).color;
const axis = (more) => ({ stroke: ink, grid: { stroke: '#8883', width: 1 }, ticks: { stroke: '#8883', width: 1 }, font: '11px system-ui, sans-serif', ...more });
function makeChart(field, shown, data) {
  const figure = charts.get(field)?.figure ?? node('figure', { 'data-chart': field });
  const caption = node('figcaption');
  const place = node('div');
  figure.replaceChildren(caption, place);
  at('charts').append(figure);
  const chart = { figure, caption, zoomed: false };
  const line = (run, more) => ({ label: run.name, stroke: run.colour, dash: run.dash, width: 1.5, spanGaps: true, points: { show: data[0].length < 2 }, value: (_, v) => short(v), ...more });
  chart.plot = new uPlot({
    width: Math.max(260, figure.clientWidth - 18),
    height: 200,
    cursor: { sync: { key: 'steploom' }, drag: { x: true, y: false } },
    scales: { x: { time: false }, y: view.log ? { distr: 3 } : {} },
    legend: { markers: { dash: (u, i) => { const [on] = u.series[i].dash ?? []; return !on ? 'solid' : on < 3 ? 'dotted' : 'dashed'; } } },
    axes: [axis({ values: (_, ticks) => ticks.map((t) => view.x === 'time' ? lasting(t) : short(t)) }), axis({ size: 62, values: (_, ticks) => ticks.map((t) => t === null ? '' : short(t)) })],
    series: [{ label: view.x, value: (_, v) => v === null || v === undefined ? '' : view.x === 'time' ? lasting(v) : short(v) },
      ...(view.smoothing > 0 ? shown.map((run) => line(run, { stroke: run.colour + '50', dash: [], width: 1, class: 'raw' })) : []), ...shown.map((run) => line(run, {}))],
    hooks: {
      setSelect: [(u) => { if (u.select.width > 0) { chart.zoomed = true; at('whole').disabled = false; } }],
      ready: [(u) => u.over.addEventListener('dblclick', () => { chart.zoomed = false; })],
    },
  }, data, place);
  return chart;
}
function drawCharts() {
  const shown = [...runs.values()].filter((run) => !hidden.has(run.name));
  const fields = new Set();
  for (const run of runs.values()) for (const r of run.records) for (const key of Object.keys(r)) if (typeof r[key] === 'number' && !['step', 'epoch', 'seconds'].includes(key)) fields.add(key);
  if (runs.size > 0) fields.add(SPEED);
  for (const [field, chart] of charts) if (!fields.has(field)) { chart.plot.destroy(); chart.figure.remove(); charts.delete(field); }
  for (const field of fields) {
    const tables = shown.map((run) => pointsOf(run, field));
    const all = view.smoothing > 0 ? [...tables, ...tables.map(([xs, ys]) => [xs, smooth(ys)])] : tables;
    const data = all.length > 0 ? uPlot.join(all) : [[]];
    const key = JSON.stringify([shown.map((run) => run.name), view.log, view.smoothing > 0, view.x, data[0].length < 2]);
    let chart = charts.get(field);
    if (chart?.key !== key) {
      chart?.plot.destroy();
      chart = makeChart(field, shown, data);
      chart.key = key;
      charts.set(field, chart);
    } else chart.plot.setData(data, !chart.zoomed);
    if (chart.zoomed) chart.plot.redraw();
    const values = shown.map((run, i) => {
      const ys = tables[i][1];
      if (ys.length === 0) return '';
      const ends = ys.reduce(([a, b], y) => [Math.min(a, y), Math.max(b, y)], [ys[0], ys[0]]);
      return (shown.length > 1 ? run.name + ': ' : '') + 'now ' + short(ys.at(-1)) + ', least ' + short(ends[0]) + ', most ' + short(ends[1]);
    }).filter(Boolean);
    chart.caption.replaceChildren(node('b', {}, field), ...values.map((text) => node('span', {}, text)));
  }
}
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
  prompts.textContent = [run.options?.validationPrompt ?? []].flat().join(' | ');
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
    part.append(node('h2', { style: 'color:' + run.colour }, run.name), run.facts, run.fault, run.button, run.gallery, run.settings, run.plan);
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
at('whole').onclick = () => { for (const chart of charts.values()) chart.zoomed = false; at('whole').disabled = true; drawCharts(); };
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
