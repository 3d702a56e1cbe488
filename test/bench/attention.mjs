// What attention's shaders for WebGPU reach with several plans, and how far from float64 they are: forward, dq, and dk with dv, on float32 and on half storage.
//   npm run build && node test/bench/attention.mjs [scale] [what]
// `scale` divides lengths (64 for a try without a GPU); `what` is a regular expression that lines' labels match, for some of them alone.
// A line: the shader, its plan, milliseconds, TFLOP/s of the products that are needed (2 forward, 5 backward), the largest error over the largest value
// among some rows, and the milliseconds to compile it. Lines marked * are what attention would take.
import { create, globals } from 'webgpu';
import { slicesOf } from '../../dist/plugins/devices/webgpu/attention.js';
import * as plain from '../../dist/plugins/devices/webgpu/attention-shaders.js';
import * as matrices from '../../dist/plugins/devices/webgpu/attention-tensor-cores.js';
import { DAWN_OPTIONS } from '../../dist/plugins/devices/webgpu/request-device.js';

const scale = Number(process.argv[2] ?? 1);
const wanted = new RegExp(process.argv[3] ?? '');
Object.assign(globalThis, globals);
const gpu = create([...DAWN_OPTIONS]);
const adapter = await gpu.requestAdapter({ powerPreference: 'high-performance' });
const features = ['shader-f16', 'subgroups', 'chromium-experimental-subgroup-matrix'];
const tensorCores = features.every((name) => adapter.features.has(name));
const limits = [
  'maxBufferSize',
  'maxStorageBufferBindingSize',
  'maxComputeWorkgroupStorageSize',
  'maxComputeInvocationsPerWorkgroup',
  'maxStorageBuffersPerShaderStage',
];
const device = await adapter.requestDevice({
  requiredFeatures: tensorCores ? features : [],
  requiredLimits: Object.fromEntries(limits.map((name) => [name, adapter.limits[name]])),
});
const { maxComputeWorkgroupStorageSize: memory, maxComputeInvocationsPerWorkgroup: most } = device.limits;
console.log(`${adapter.info.description}, ${memory} bytes a workgroup, ${tensorCores ? 'with' : 'without'} tensor cores`);

const { STORAGE, COPY_SRC, COPY_DST, MAP_READ } = GPUBufferUsage;
const buffer = (size) => device.createBuffer({ size: Math.ceil(size / 16) * 16, usage: STORAGE | COPY_SRC | COPY_DST });
const filled = (data) => {
  const made = buffer(data.byteLength);
  device.queue.writeBuffer(made, 0, data);
  return made;
};
async function read(from, Type, offset = 0, size = from.size) {
  const staging = device.createBuffer({ size, usage: MAP_READ | COPY_DST });
  const encoder = device.createCommandEncoder();
  encoder.copyBufferToBuffer(from, offset, staging, 0, size);
  device.queue.submit([encoder.finish()]);
  await staging.mapAsync(GPUMapMode.READ);
  const values = new Type(staging.getMappedRange().slice(0));
  staging.destroy();
  return values;
}

const numbers = Float32Array.from({ length: 65536 }, (_, h) => {
  const [sign, e, m] = [h & 0x8000 ? -1 : 1, (h >> 10) & 31, h & 1023];
  return sign * (e === 0 ? m * 2 ** -24 : e === 31 ? (m ? Number.NaN : Number.POSITIVE_INFINITY) : (1 + m / 1024) * 2 ** (e - 15));
});
const bits = new Uint32Array(1);
const float = new Float32Array(bits.buffer);
/** Normal numbers cut to float16: both storages are given the same. */
const halfOf = (x) => {
  float[0] = x;
  const e = ((bits[0] >> 23) & 255) - 112;
  return ((bits[0] >> 16) & 0x8000) | (e <= 0 ? 0 : (e << 10) | ((bits[0] >> 13) & 1023));
};
let seed = 1;
const uniform = () => (seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0) / 2 ** 32;
const table = Uint16Array.from({ length: 65536 }, () =>
  halfOf(Math.sqrt(-2 * Math.log(uniform() + 1e-9)) * Math.cos(2 * Math.PI * uniform())),
);
const random = (size) => Uint16Array.from({ length: size }, () => table[(uniform() * 65536) | 0]);

async function compile(code) {
  const start = performance.now();
  device.pushErrorScope('validation');
  const module = device.createShaderModule({ code });
  const pipeline = device.createComputePipeline({ layout: 'auto', compute: { module, entryPoint: 'main' } });
  const error = await device.popErrorScope();
  if (error) throw new Error(error.message.split('\n').slice(0, 3).join(' '));
  return { pipeline, start };
}

async function launch({ pipeline, start }, buffers, groups) {
  const group = device.createBindGroup({
    layout: pipeline.getBindGroupLayout(0),
    entries: buffers.map((one, binding) => ({ binding, resource: { buffer: one } })),
  });
  const go = (times) => {
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, group);
    for (let i = 0; i < times; i++) pass.dispatchWorkgroups(...groups);
    pass.end();
    device.queue.submit([encoder.finish()]);
    return device.queue.onSubmittedWorkDone();
  };
  const timed = async (times) => {
    const began = performance.now();
    await go(times);
    return (performance.now() - began) / times;
  };
  await go(1);
  const compiled = performance.now() - start;
  if (scale > 1) return { ms: await timed(1), compiled };
  // The driver compiles again, better, in the background: a shader's first seconds tell little.
  for (const begun = performance.now(); performance.now() - begun < 2500; ) await go(20);
  const one = await timed(20);
  return { ms: await timed(Math.ceil(40 / one)), compiled };
}

const label = (plan) =>
  Object.entries(plan)
    .map(([name, value]) => `${name} ${value}`)
    .join(', ');
const gap = (pairs) => {
  let [difference, largest] = [0, 0];
  for (const [got, expected] of pairs) {
    const d = Math.abs(got - expected);
    if (!(d <= difference)) difference = Number.isNaN(d) ? Number.POSITIVE_INFINITY : d;
    largest = Math.max(largest, Math.abs(expected));
  }
  return difference / largest;
};

/** The plan that attention would take, and others: fewer where a configuration is not one of the `main` ones. */
function plansFor(kind, d, storage, main) {
  const sums = kind === 'dk dv' ? 2 : 1;
  const own = tensorCores && storage === 'halves' && matrices.matrixPlanFor(kind, d, memory);
  if (own) {
    const layouts = [
      [4, 1, 1],
      [2, 1, 1],
      [8, 1, 1],
      [4, 1, 2],
      [2, 1, 2],
      [2, 2, 1],
      [4, 2, 1],
      [2, 2, 2],
      [1, 4, 1],
    ];
    const others = layouts.flatMap(([down, across, each]) => [16, 32, 64, 128].map((columns) => ({ down, across, each, columns })));
    return [
      own,
      ...others.filter((plan) => {
        const fragments = Math.ceil(d / 16 / plan.across) * plan.each * sums;
        const fits = matrices.matrixMemoryOf(kind, d, plan) <= memory && 32 * plan.down * plan.across <= most;
        return (
          fits &&
          plan.columns / 16 >= plan.across &&
          (plan.columns > 16 || plan.across === 1) &&
          fragments <= 14 &&
          (d > 96 || plan.across < 4) &&
          (main || plan.columns < 128)
        );
      }),
    ];
  }
  const plan = plain.planFor(d, sums, storage, memory);
  const layouts = main
    ? [
        [8, 8, 8],
        [8, 8, 16],
        [4, 8, 8],
        [4, 8, 16],
        [8, 16, 8],
        [4, 16, 8],
        [4, 16, 16],
      ]
    : [];
  const others = layouts
    .map(([each, across, down]) => plain.planOf({ each, across, down }, d, storage, memory))
    .filter((one) => one.each * d * sums <= 128 * one.across && plain.threadsOf(one) <= most);
  return [plan, ...others].flatMap((one) => [one, { ...one, unrolled: !one.unrolled }]);
}

/** The shader, whose code is asked for with whether its results are slices. */
function shader(kind, d, storage, plan) {
  if (plan.columns)
    return {
      code: (partial) =>
        ({
          forward: () => matrices.forwardMatrixShader(d, plan),
          dq: () => matrices.queryMatrixShader(d, plan),
          'dk dv': () => matrices.keyMatrixShader(d, plan, partial),
        })[kind](),
      rows: matrices.matrixRowsOf(plan),
      columns: plan.columns,
    };
  return {
    code: (partial) =>
      ({
        forward: () => plain.forwardShader(d, storage, plan),
        dq: () => plain.queryShader(d, storage, plan),
        'dk dv': () => plain.keyShader(d, storage, plan, partial),
      })[kind](),
    rows: plain.rowsOf(plan),
    columns: plain.columnsOf(plan),
  };
}

const STORAGES = ['vectors', 'halves'];
const KINDS = ['forward', 'dq', 'dk dv'];
const down = (length) => Math.max(3, Math.round(length / scale));
for (const [n, LQ, LK, heads, d, main] of [
  [4, 4096, 4096, 8, 40, true],
  [4, 4096, 77, 8, 40, false],
  [1, 4096, 4096, 10, 64, true],
  [4, 1024, 1024, 8, 80],
  [4, 256, 256, 8, 160],
  [1, 4096, 4096, 1, 512],
  [3, 333, 201, 2, 24],
]) {
  const [lq, lk, c] = [down(LQ), down(LK), heads * d];
  const about = `${n} x ${lq} to ${lk}, ${heads} heads of ${d}`;
  const lines = (storage, kind) =>
    plansFor(kind, d, storage, main)
      .map((plan) => ({ plan, line: `${about}, ${storage}: ${kind}: ${label(plan)}` }))
      .filter(({ line }, i, all) => all.findIndex((other) => other.line === line) === i);
  const asked = (storage) => KINDS.some((kind) => lines(storage, kind).some(({ line }) => wanted.test(line)));
  if (!STORAGES.some(asked)) continue;
  const host = { q: random(n * lq * c), k: random(n * lk * c), v: random(n * lk * c), dy: random(n * lq * c) };
  const value = (name, row, i) => numbers[host[name][row * c + (heads - 1) * d + i]];
  // Some rows of the last head of the last example.
  const rowsQ = [0, 1, Math.floor(lq / 2), lq - 1].map((row) => (n - 1) * lq + row);
  const rowsK = [0, 1, Math.floor(lk / 2), lk - 1].map((row) => (n - 1) * lk + row);
  const inner = (a, i, b, j) => {
    let sum = 0;
    for (let at = 0; at < d; at++) sum += value(a, i, at) * value(b, j, at);
    return sum;
  };
  const factor = 1 / Math.sqrt(d);
  const keys = Array.from({ length: lk }, (_, j) => (n - 1) * lk + j);
  const queries = Array.from({ length: lq }, (_, i) => (n - 1) * lq + i);
  const expected = { result: [], dq: [], dk: [], dv: [] };
  for (const i of rowsQ) {
    const s = keys.map((j) => inner('q', i, 'k', j) * factor);
    const top = s.reduce((a, b) => Math.max(a, b));
    const e = s.map((x) => Math.exp(x - top));
    const total = e.reduce((a, b) => a + b);
    const g = keys.map((j) => inner('dy', i, 'v', j));
    const mean = g.reduce((sum, x, j) => sum + x * e[j], 0) / total;
    for (let at = 0; at < d; at++) {
      expected.result.push(e.reduce((sum, p, j) => sum + p * value('v', keys[j], at), 0) / total);
      expected.dq.push(e.reduce((sum, p, j) => sum + p * (g[j] - mean) * value('k', keys[j], at), 0) * (factor / total));
    }
  }

  for (const storage of STORAGES) {
    if (!asked(storage)) continue;
    const half = storage === 'halves';
    const buffers = Object.fromEntries(
      Object.entries(host).map(([name, data]) => [name, filled(half ? data : Float32Array.from(data, (h) => numbers[h]))]),
    );
    const bytes = half ? 2 : 4;
    for (const [name, length] of [
      ['result', lq],
      ['dq', lq],
      ['dk', lk],
      ['dv', lk],
    ])
      buffers[name] = buffer(n * length * c * bytes);
    for (const name of ['sumLogs', 'deltas']) buffers[name] = buffer(n * heads * lq * 4);
    const check = async (name, rows, written, slices) => {
      const pairs = [];
      const inHalf = half && slices === 1;
      const row = c * (inHalf ? 2 : 4);
      for (const at of rows) {
        const got = new Float64Array(d);
        for (let slice = 0; slice < slices; slice++) {
          const numbersOf = await read(written, inHalf ? Uint16Array : Float32Array, (slice * n * lk + at) * row, row);
          for (let i = 0; i < d; i++) {
            const x = numbersOf[(heads - 1) * d + i];
            got[i] += inHalf ? numbers[x] : x;
          }
        }
        for (const x of got) pairs.push([x, expected[name][pairs.length]]);
      }
      return pairs;
    };
    for (const kind of KINDS) {
      if (kind !== 'forward' && !KINDS.slice(1).some((one) => lines(storage, one).some(({ line }) => wanted.test(line)))) continue;
      if (kind === 'dq') {
        // What was last written forward, which was compared with float64: so is what follows for the sums over all queries.
        const code = plain.deltaShader(d, storage);
        const sizes = filled(Uint32Array.of(heads, lq, lk, n, lq));
        await launch(await compile(code), [buffers.result, buffers.dy, buffers.deltas, sizes], [Math.ceil((lq * heads) / 64), n]);
        const [logs, deltas] = [await read(buffers.sumLogs, Float32Array), await read(buffers.deltas, Float32Array)];
        expected.dk = [];
        expected.dv = [];
        for (const j of rowsK) {
          const p = queries.map((i, at) => Math.exp(inner('q', i, 'k', j) * factor - logs[(n * heads - 1) * lq + at]));
          const ds = queries.map((i, at) => p[at] * (inner('dy', i, 'v', j) - deltas[(n * heads - 1) * lq + at]) * factor);
          for (let at = 0; at < d; at++) {
            expected.dv.push(queries.reduce((sum, i, r) => sum + p[r] * value('dy', i, at), 0));
            expected.dk.push(queries.reduce((sum, i, r) => sum + ds[r] * value('q', i, at), 0));
          }
        }
      }
      for (const [number, { plan, line }] of lines(storage, kind).entries()) {
        // The first plan forward is always run: gradients build on what it writes.
        if (!wanted.test(line) && (kind !== 'forward' || number > 0)) continue;
        try {
          const { rows, columns, code } = shader(kind, d, storage, plan);
          const tiles = Math.ceil((kind === 'dk dv' ? lk : lq) / rows);
          const { slices, depth } = kind === 'dk dv' ? slicesOf(lq, columns, tiles * heads * n) : { slices: 1, depth: lq };
          const sizes = filled(Uint32Array.of(heads, lq, lk, n, depth));
          const written = { forward: ['result'], dq: ['dq'], 'dk dv': ['dk', 'dv'] }[kind];
          // Slices are left as they are: adding them up is not measured.
          const parts = slices > 1 ? written.map(() => buffer(slices * n * lk * c * 4)) : written.map((name) => buffers[name]);
          const inputs = (kind === 'forward' ? ['q', 'k', 'v'] : ['q', 'k', 'v', 'dy', 'sumLogs', 'deltas']).map((name) => buffers[name]);
          const all = [...inputs, ...parts, ...(kind === 'forward' ? [buffers.sumLogs] : []), sizes];
          const { ms, compiled } = await launch(await compile(code(slices > 1)), all, [tiles, heads, n * slices]);
          const errors = [];
          for (const [i, name] of written.entries())
            errors.push(gap(await check(name, kind === 'dk dv' ? rowsK : rowsQ, parts[i], slices)).toExponential(1));
          if (slices > 1) for (const part of parts) part.destroy();
          const operations = { forward: 4, dq: 4, 'dk dv': 6 }[kind] * n * lq * lk * c;
          console.log(
            `${number === 0 ? '*' : ' '} ${line.padEnd(120)} ${ms.toFixed(3).padStart(9)} ms ${(operations / ms / 1e9).toFixed(2).padStart(7)} TFLOP/s  error ${errors.join(' ')}  compiled ${compiled.toFixed(0)} ms`,
          );
        } catch (error) {
          console.log(`  ${line}: ${error.message}`);
        }
      }
    }
    for (const one of Object.values(buffers)) one.destroy();
  }
}
process.exit();
