/**
 * The page's charts, drawn with uPlot: of every number that runs log, over steps, epochs or time. What they are drawn from, and what else tells of runs,
 * stands in script.ts.
 */
export const CHARTS_SCRIPT = `
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
/** Steps between ticks of time that people count in, in seconds. */
const CLOCK = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 864000];
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
    axes: [axis(view.x === 'time' ? { space: 80, incrs: CLOCK, values: (_, ticks) => ticks.map((t) => lasting(t).replace(/(?<=min|h) 0 (s|min)$/, '')) } : { values: (_, ticks) => ticks.map(short) }), axis({ size: 62, values: (_, ticks) => ticks.map((t) => t === null ? '' : short(t)) })],
    series: [{ label: view.x, value: (_, v) => v === null || v === undefined ? '' : view.x === 'time' ? lasting(v) : short(v) },
      ...(view.smoothing > 0 ? shown.map((run) => line(run, { stroke: run.colour + '50', dash: [], width: 1, class: 'raw' })) : []), ...shown.map((run) => line(run, {}))],
    hooks: {
      setSelect: [(u) => { if (u.select.width > 0) { chart.zoomed = true; at('whole').disabled = false; } }],
      ready: [(u) => u.over.addEventListener('dblclick', showWhole)],
    },
  }, data, place);
  readByKeys(place, chart, field, shown);
  return chart;
}
/** All of each run, in every chart. */
function showWhole() {
  for (const chart of charts.values()) chart.zoomed = false;
  at('whole').disabled = true;
  drawCharts();
}
/** Half of what is seen, around the pointer, in every chart. */
function zoomIn({ scales: { x: { min, max } } }, middle) {
  const quarter = (max - min) / 4;
  const from = Math.min(Math.max(middle - quarter, min), max - 2 * quarter);
  for (const chart of charts.values()) {
    chart.zoomed = true;
    chart.plot.setScale('x', { min: from, max: from + 2 * quarter });
  }
  at('whole').disabled = false;
}
/** A chart is a slider over its points for who has no pointer, or does not see it: arrows move it, and its values are read out. */
function readByKeys(place, chart, field, shown) {
  const tellValues = () => {
    const { data, cursor: { idx, idxs } } = chart.plot;
    if (idx === null || idx === undefined) return;
    // As the legend has them: of a run without this point its nearest.
    const values = shown.map((run, i) => [run.name, data.length - shown.length + i]).map(([name, line]) => [name, data[line][idxs[line]]]).filter(([, y]) => Number.isFinite(y));
    const x = view.x === 'time' ? lasting(data[0][idx]) : view.x + ' ' + short(data[0][idx]);
    const told = { 'aria-valuemin': 0, 'aria-valuemax': data[0].length - 1, 'aria-valuenow': idx, 'aria-valuetext': x + ': ' + values.map(([name, y]) => name + ' ' + short(y)).join(', ') };
    for (const [key, value] of Object.entries(told)) place.setAttribute(key, value);
  };
  for (const [key, value] of Object.entries({ tabindex: 0, role: 'slider', 'aria-label': field, 'aria-valuenow': 0, title: 'Arrows move the pointer, + enlarges around it, - shows the whole run' })) place.setAttribute(key, value);
  place.onkeydown = (event) => {
    const { plot } = chart;
    const { min, max } = plot.scales.x;
    const seen = plot.data[0].flatMap((x, i) => x >= min && x <= max ? [i] : []);
    if (seen.length === 0) return;
    const place = seen.indexOf(plot.cursor.idx);
    const here = place < 0 ? seen.length : place;
    const to = { ArrowLeft: here - 1, ArrowRight: place + 1, PageDown: here - 10, PageUp: place + 10, Home: 0, End: seen.length - 1 }[event.key];
    if (to !== undefined) {
      const x = plot.data[0][seen[Math.min(seen.length - 1, Math.max(0, to))]];
      plot.setCursor({ left: plot.valToPos(x, 'x'), top: plot.over.clientHeight / 2 }, true, true);
      tellValues();
    } else if (event.key === '+') zoomIn(plot, place < 0 ? (min + max) / 2 : plot.data[0][plot.cursor.idx]);
    else if (event.key === '-' || event.key === 'Escape') showWhole();
    else return;
    event.preventDefault();
  };
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
`;
