import { readFileSync } from 'node:fs';
import { describe, expect, test, vi } from 'vitest';
import { type Optimizer, type Parameter, type State, seededRandom } from '../../../core/index.js';
import * as tf from '../../../core/tf.js';
import { registerOperations } from '../../../plugins/devices/compute/contract.js';
import { BLOCK_SIZE, SIGNED, UNSIGNED } from '../../../plugins/devices/compute/dynamic-map.js';
import { adafactor } from '../../../plugins/optimizers/adafactor.js';
import { adamw } from '../../../plugins/optimizers/adamw.js';
import { adamw8bit } from '../../../plugins/optimizers/adamw8bit.js';
import { lion } from '../../../plugins/optimizers/lion.js';
import { prodigy } from '../../../plugins/optimizers/prodigy.js';
import { sgd } from '../../../plugins/optimizers/sgd.js';
import { relativeGap, testDevices, use } from '../../support/devices.js';

type Ours = Optimizer & { capture(): Promise<State>; restore(state: State): Promise<void>; dispose(): void };

/** One parameter under an optimizer. */
function single(make: () => Ours, start: number[], rates: { learningRate: number; weightDecay: number }) {
  const variable = tf.variable(tf.tensor1d(start));
  const optimizer = make();
  optimizer.start(new Map<string, Parameter>([['p', { variable, trainable: true, group: 'main' }]]));
  let step = 0;
  return {
    variable,
    optimizer,
    step(gradient: number[] | Float32Array, scale: number | tf.Scalar = 1, finite: number | tf.Scalar = 1) {
      const g = tf.tensor1d(gradient as number[]);
      optimizer.update({ gradients: { p: g }, scale, finite }, { main: rates }, step++);
      g.dispose();
    },
  };
}

interface Golden {
  sgd: { options: { lr: number; momentum?: number; nesterov?: boolean; weight_decay?: number }; rows: number[][] }[];
  adamw: { options: { lr: number; betas?: [number, number]; eps?: number; weight_decay: number }; rows: number[][] }[];
  lion: { options: { lr: number; betas?: [number, number]; weight_decay?: number }; rows: number[][] }[];
  prodigy: {
    options: {
      lr: number;
      betas?: [number, number];
      weight_decay?: number;
      use_bias_correction?: boolean;
      safeguard_warmup?: boolean;
      d_coef?: number;
      growth_rate?: number;
    };
    rows: number[][];
  }[];
  adafactor: {
    options: { lr: number; weight_decay?: number; beta2_decay?: number; eps?: [number, number]; d?: number };
    rows: number[][];
  }[];
}
const golden = JSON.parse(readFileSync(new URL('../../fixtures/optimizers-golden.json', import.meta.url), 'utf8')) as Golden;
interface Golden8bit {
  maps: { signed: number[]; unsigned: number[] };
  steps: Record<'1' | '5', { m: string; v: string; absmaxM: number[]; absmaxV: number[]; p: number[] }>;
}
const golden8bit = JSON.parse(readFileSync(new URL('../../fixtures/adamw8bit-golden.json', import.meta.url), 'utf8')) as Golden8bit;

/** The fixtures' vector and matrix under an optimizer: the values after each step. */
async function twoParameters(make: () => Ours, rates: { learningRate: number; weightDecay: number }, steps: number) {
  const a = tf.variable(tf.tensor1d([1, -2, 0.5]));
  const b = tf.variable(
    tf.tensor2d([
      [0.1, 0.2, 0.3],
      [0.4, 0.5, 0.6],
    ]),
  );
  const optimizer = make();
  const parameter = (variable: tf.Variable) => ({ variable, trainable: true, group: 'main' });
  optimizer.start(
    new Map([
      ['a', parameter(a)],
      ['b', parameter(b)],
    ] as [string, Parameter][]),
  );
  const rows: number[][] = [];
  for (let k = 1; k <= steps; k++) {
    const gradients = {
      a: tf.tensor1d([Math.sin(k) + 1.5, Math.cos(2 * k) - 1.5, 0.3]),
      b: tf.tensor2d([0, 1].map((i) => [0, 1, 2].map((j) => Math.cos(k + i) + 0.5 * j))),
    };
    optimizer.update({ gradients, scale: 1, finite: 1 }, { main: rates }, k - 1);
    rows.push([...(await a.data()), ...(await b.data())]);
    tf.dispose(gradients);
  }
  optimizer.dispose();
  return rows;
}

const OPTIMIZERS: [string, () => Ours][] = [
  ['adamw', adamw],
  ['adamw8bit', () => adamw8bit({ min8bitSize: 0 })],
  ['sgd', () => sgd({ momentum: 0.9 })],
  ['lion', lion],
  ['prodigy', () => prodigy({ d0: 1e-3 })],
  ['adafactor', adafactor],
];

const gradient = (k: number) => [Math.sin(k), Math.cos(2 * k), 0.3 * k - 1];

for (const device of await testDevices()) {
  describe(`on ${device}`, () => {
    test('adamw gives the golden values of torch', async () => {
      await use(device, 2);
      const run = single(adamw, [1, -2, 0.5], { learningRate: 0.1, weightDecay: 0.01 });
      run.step([0.1, -0.2, 0.3]);
      expect(relativeGap(await run.variable.data(), [0.899, -1.898, 0.3995])).toBeLessThan(1e-6);
      run.step([0.2, 0.1, -0.3]);
      expect(relativeGap(await run.variable.data(), [0.8015828, -1.8694683, 0.4043637])).toBeLessThan(1e-6);
      for (const { options, rows } of golden.adamw) {
        const { lr, betas = [0.9, 0.999], eps = 1e-8, weight_decay } = options;
        const other = single(() => adamw({ beta1: betas[0], beta2: betas[1], epsilon: eps }), [1, -2, 0.5], {
          learningRate: lr,
          weightDecay: weight_decay,
        });
        for (const [i, row] of rows.entries()) {
          other.step(gradient(i + 1));
          expect(relativeGap(await other.variable.data(), row)).toBeLessThan(2e-6);
        }
      }
    });

    test('adamw stays within 1e-5 of float64 over 1,000 steps', async () => {
      await use(device, 2);
      const n = 64;
      const random = seededRandom(1).named('drift');
      const start = random.normals(new Float32Array(n)).map((x) => 0.1 * x);
      const run = single(adamw, [...start], { learningRate: 1e-3, weightDecay: 1e-2 });
      const [p, m, v] = [Float64Array.from(start), new Float64Array(n), new Float64Array(n)];
      const steps = device === 'webgpu' ? 200 : 1000;
      for (let t = 1; t <= steps; t++) {
        const g = random.normals(new Float32Array(n)).map((x) => 0.01 * x);
        run.step(g);
        for (let i = 0; i < n; i++) {
          m[i] = 0.9 * m[i] + 0.1 * g[i];
          v[i] = 0.999 * v[i] + 0.001 * g[i] * g[i];
          p[i] -= 1e-3 * (m[i] / (1 - 0.9 ** t) / (Math.sqrt(v[i] / (1 - 0.999 ** t)) + 1e-8) + 1e-2 * p[i]);
        }
      }
      expect(relativeGap(await run.variable.data(), p)).toBeLessThan(1e-5);
    });

    test('sgd, with momentum and nesterov, gives what torch gives', async () => {
      await use(device, 2);
      for (const { options, rows } of golden.sgd) {
        const run = single(() => sgd({ momentum: options.momentum, nesterov: options.nesterov }) as Ours, [1, -2, 0.5], {
          learningRate: options.lr,
          weightDecay: options.weight_decay ?? 0,
        });
        for (const [i, row] of rows.entries()) {
          run.step(gradient(i + 1));
          expect(relativeGap(await run.variable.data(), row)).toBeLessThan(1e-6);
        }
      }
    });

    test('lion, prodigy and adafactor give what their references give', async () => {
      await use(device, 2);
      const compare = async (name: string, make: () => Ours, lr: number, decay: number, rows: number[][]) => {
        const ours = await twoParameters(make, { learningRate: lr, weightDecay: decay }, rows.length);
        for (const [i, row] of rows.entries()) expect(relativeGap(ours[i], row), `${name}, step ${i + 1}`).toBeLessThan(5e-6);
      };
      for (const { options: o, rows } of golden.lion)
        await compare('lion', () => lion({ beta1: o.betas?.[0], beta2: o.betas?.[1] }), o.lr, o.weight_decay ?? 0, rows);
      for (const { options: o, rows } of golden.prodigy) {
        const options = {
          beta1: o.betas?.[0],
          beta2: o.betas?.[1],
          biasCorrection: o.use_bias_correction,
          safeguardWarmup: o.safeguard_warmup,
          dCoefficient: o.d_coef,
          growthRate: o.growth_rate,
        };
        await compare('prodigy', () => prodigy(options), o.lr, o.weight_decay ?? 0, rows);
      }
      for (const { options: o, rows } of golden.adafactor) {
        const options = { decayPower: o.beta2_decay, epsilon1: o.eps?.[0], epsilon2: o.eps?.[1], clipThreshold: o.d };
        await compare('adafactor', () => adafactor(options), o.lr, o.weight_decay ?? 0, rows);
      }
    });

    test('adamw8bit has bitsandbytes’ codes', async () => {
      await use(device, 2);
      const demand = device === 'webgpu' ? 'nearly' : 'all';
      await goldenCodes(demand);
      // Whole blocks, a multiple of four: some kernels take four at a time then.
      await goldenCodes(demand, 4352);
    });

    test('adamw8bit holds 2 + 8/256 bytes an element, small and named tensors 8', async () => {
      await use(device, 2);
      const variables = { large: [64, 256], named: [64, 256], small: [100] };
      const parameters = new Map<string, Parameter>(
        Object.entries(variables).map(([path, shape]) => [path, { variable: tf.variable(tf.zeros(shape)), trainable: true, group: 'g' }]),
      );
      const bytes = tf.memory().numBytes;
      // TensorFlow.js counts four bytes for what TensorFlow holds in one: there resident memory is measured instead, below.
      const counted = device === 'tfjs-node' ? 3 * 2 * 16384 : 0;
      const optimizer = adamw8bit({ keep32bit: ['named'] });
      optimizer.start(parameters);
      expect(optimizer.stateBytes()).toBe(16384 * (2 + 8 / 256) + 8 * 16384 + 8 * 100 + 16);
      expect(tf.memory().numBytes - bytes).toBe(optimizer.stateBytes() + counted);
      optimizer.dispose();
      expect(() => adamw8bit({ keep32bit: ['nothing'] }).start(parameters)).toThrow(/PATTERN_UNMATCHED.*nothing/);
      if (device !== 'tfjs-node') return;
      const size = 2 ** 24;
      const variable = tf.variable(tf.zeros([size]));
      // Several, as TensorFlow keeps the memory that the first needed on its way for the next.
      const several = Array.from({ length: 6 }, () => adamw8bit());
      let resident = 0;
      for (const [i, one] of several.entries()) {
        one.start(new Map([['p', { variable, trainable: true, group: 'g' }]]));
        if (i === 1) resident = process.memoryUsage().rss;
      }
      const bytesEach = (process.memoryUsage().rss - resident) / 4 / size;
      expect(bytesEach).toBeGreaterThan(1.9);
      expect(bytesEach).toBeLessThan(2.2);
      for (const one of several) one.dispose();
      variable.dispose();
    });

    test('adamw8bit: a gradient 1e4 times its neighbours does not make them explode', async () => {
      await use(device, 2);
      const run = single(() => adamw8bit({ min8bitSize: 0 }), new Array(256).fill(0), { learningRate: 1e-3, weightDecay: 0 });
      const g = new Array(256).fill(0).map((_, i) => 1e-3 * Math.sin(i + 1));
      run.step(g);
      run.step(g.map((x, i) => (i === 7 ? 10 : x)));
      for (let k = 0; k < 30; k++) run.step(g.map((x) => 0.1 * x));
      expect(Math.max(...(await run.variable.data()).map(Math.abs))).toBeLessThan(32 * 3.2e-3);
    });

    test('many small tensors step as each alone does, are read, replaced and given back', async () => {
      await use(device, 2);
      const random = seededRandom(5);
      const shapes = Array.from({ length: 45 }, (_, i) => (i % 4 === 3 ? [7, 1 + (i % 3)] : [4, 8 * (1 + (i % 5))]));
      const drawn = (name: string, shape: number[], scale: number) => {
        const values = random.named(name).normals(new Float32Array(shape[0] * shape[1]));
        return tf.tensor(
          values.map((x) => scale * x),
          shape,
        );
      };
      const before = tf.memory();
      const rates = { main: { learningRate: 1e-2, weightDecay: 1e-2 } };
      const run = async (together: boolean) => {
        const variables = shapes.map((shape, i) => tf.tidy(() => tf.variable(drawn(`p${i}`, shape, 1))));
        const parameters = variables.map((variable, i) => [`p${i}`, { variable, trainable: true, group: 'main' }] as [string, Parameter]);
        const parts = together ? [parameters] : parameters.map((one) => [one]);
        const optimizers = parts.map((part) => {
          const optimizer = adamw();
          optimizer.start(new Map(part));
          return optimizer;
        });
        for (let step = 0; step < 4; step++) {
          tf.tidy(() => {
            for (const [k, part] of parts.entries()) {
              const gradients = Object.fromEntries(
                part.map(([path, { variable }]) => [path, drawn(`${path} ${step}`, variable.shape, 0.1)]),
              );
              optimizers[k].update({ gradients, scale: 0.5, finite: 1 }, rates);
            }
          });
          // A variable that gets another value has other memory, before and after it was read.
          if (step === 1) tf.tidy(() => variables[5].assign(variables[5].mul(2)));
          if (step === 2) await variables[6].data();
        }
        const values = await Promise.all(variables.map((variable) => variable.data()));
        const state = await Promise.all(optimizers.map((optimizer) => optimizer.capture()));
        for (const optimizer of optimizers) optimizer.dispose();
        for (const variable of variables) variable.dispose();
        return { values, state: Object.assign({}, ...state) as Record<string, { data: Float32Array }> };
      };
      const [apart, together] = [await run(false), await run(true)];
      for (const [i, values] of together.values.entries()) expect(relativeGap(values, apart.values[i]), `p${i}`).toBeLessThan(1e-6);
      expect(Object.keys(together.state).length).toBeGreaterThan(2 * shapes.length);
      for (const path of ['m/p0', 'v/p3', 'm/p44'])
        expect(relativeGap(together.state[path].data, apart.state[path].data), path).toBeLessThan(1e-6);
      // Memory comes back when what is recorded was sent, which reading something does.
      const probe = tf.tidy(() => tf.ones([64, 64]).mul(2));
      await probe.data();
      probe.dispose();
      expect(tf.memory().numTensors).toBe(before.numTensors);
      const inUse = (memory: tf.MemoryInfo) => (memory as { numBytesInGPU?: number }).numBytesInGPU ?? 0;
      expect(inUse(tf.memory()) - inUse(before)).toBeLessThan(40_000);
    });

    test('more small tensors than one slab holds', async () => {
      await use(device, 2);
      const size = 1 << 20;
      const count = device === 'webgpu' ? 18 : 2;
      const variables = Array.from({ length: count }, (_, i) => tf.tidy(() => tf.variable(tf.fill([size], i))));
      const optimizer = lion();
      optimizer.start(new Map(variables.map((variable, i) => [`p${i}`, { variable, trainable: true, group: 'main' }])));
      tf.tidy(() => {
        const g = tf.ones([size]);
        const gradients = Object.fromEntries(variables.map((_, i) => [`p${i}`, g]));
        optimizer.update({ gradients, scale: 1, finite: 1 }, { main: { learningRate: 0.25, weightDecay: 0 } });
      });
      for (const [i, variable] of variables.entries()) {
        const values = await variable.data();
        expect([values[0], values[size - 1]], `p${i}`).toEqual([i - 0.25, i - 0.25]);
        variable.dispose();
      }
      optimizer.dispose();
    });

    test.each(OPTIMIZERS)('%s applies the scale, and keeps every old value where finite is 0', async (_, make) => {
      await use(device, 2);
      const rates = { learningRate: 0.1, weightDecay: 0.01 };
      const [whole, scaled] = [single(make, [1, -2, 0.5], rates), single(make, [1, -2, 0.5], rates)];
      const half = tf.scalar(0.5);
      const [yes, no] = [tf.scalar(1), tf.scalar(0)];
      scaled.step([Number.NaN, 1, Number.POSITIVE_INFINITY], half, no);
      for (let k = 1; k < 4; k++) {
        whole.step(gradient(k));
        scaled.step(
          gradient(k).map((x) => 2 * x),
          half,
          yes,
        );
        if (k === 2) scaled.step([Number.NaN, Number.NaN, Number.NaN], Number.NaN as number, no);
      }
      expect(relativeGap(await scaled.variable.data(), await whole.variable.data())).toBeLessThan(1e-7);
    });

    test.each(OPTIMIZERS)('%s resumes bit for bit, and leaks no tensor', async (_, make) => {
      await use(device, 2);
      const rates = { learningRate: 0.1, weightDecay: 0.01 };
      const first = single(make, [1, -2, 0.5], rates);
      for (let k = 1; k < 4; k++) first.step(gradient(k));
      const saved = await first.optimizer.capture();
      const second = single(make, [...(await first.variable.data())], rates);
      await second.optimizer.restore(saved);
      const before = tf.memory().numTensors;
      for (let k = 4; k < 9; k++) for (const run of [first, second]) run.step(gradient(k));
      expect(tf.memory().numTensors).toBe(before);
      expect(await second.variable.data()).toEqual(await first.variable.data());
      await expect(second.optimizer.restore({})).rejects.toThrow(/SNAPSHOT_MISMATCH.*is missing/);
    });
  });
}

/** The fixture's five steps, on the current device. */
async function goldenCodes(demand: 'all' | 'nearly', n = 4369) {
  const start = Float32Array.from({ length: n }, (_, i) => 0.1 * Math.cos(0.05 * i));
  const run = single(adamw8bit, [...start], { learningRate: 1e-3, weightDecay: 1e-2 });
  for (let k = 1; k <= 5; k++) {
    run.step(Float32Array.from({ length: n }, (_, i) => 0.01 * Math.sin(0.37 * i + 0.11 * k * k) * (1 + (i % 7))));
    if (k !== 1 && k !== 5) continue;
    const expected = golden8bit.steps[k === 1 ? '1' : '5'];
    const state = (await run.optimizer.capture()) as Record<string, { data: Uint8Array | Float32Array }>;
    for (const kind of ['m', 'v'] as const) {
      const ours = state[`codes/${kind}/p`].data;
      const theirs = Buffer.from(expected[kind], 'hex').subarray(0, n);
      const other = [...theirs.keys()].filter((i) => ours[i] !== theirs[i]);
      if (demand === 'all') expect(other, `${kind} after step ${k}`).toEqual([]);
      expect(other.length).toBeLessThan(n / 1000);
      for (const i of other) expect(Math.abs(ours[i] - theirs[i])).toBe(1);
    }
    const blocks = Math.ceil(n / BLOCK_SIZE);
    const absmax = [...expected.absmaxM.slice(0, blocks), ...expected.absmaxV.slice(0, blocks)];
    expect(relativeGap(state['absmax/p'].data, absmax)).toBeLessThan(1e-6);
    expect(relativeGap(await run.variable.data(), expected.p.slice(0, n))).toBeLessThan(1e-6);
  }
  run.optimizer.dispose();
}

describe('8-bit codes', () => {
  test('the maps are bitsandbytes’, to the last bit', () => {
    expect([...SIGNED]).toEqual(golden8bit.maps.signed);
    expect([...UNSIGNED]).toEqual(golden8bit.maps.unsigned);
    expect([SIGNED[0], SIGNED[127], SIGNED[255], UNSIGNED[254], BLOCK_SIZE]).toEqual([
      expect.closeTo(-0.99296874, 8),
      0,
      1,
      expect.closeTo(0.9964844, 7),
      256,
    ]);
  });

  test('a device without a kernel computes the same with TensorFlow.js operations', async () => {
    await use('cpu');
    registerOperations(tf.backend(), {});
    try {
      await goldenCodes('all');
    } finally {
      await use('cpu');
    }
  });

  test.each([
    ['adamw8bit', adamw8bit],
    ['adamw', adamw],
    ['lion', lion],
  ] as [string, () => Ours][])('%s: a tensor that several threads share comes out as its parts do on one', async (_, make) => {
    await use('wasm', 2);
    const part = 200 * 256;
    const parts = 3;
    const rates = { learningRate: 1e-3, weightDecay: 1e-2 };
    const start = (from: number, n: number) => Array.from({ length: n }, (_, i) => 0.1 * Math.cos(from + i));
    const gradient = (from: number, n: number, k: number) => Float32Array.from({ length: n }, (_, i) => 0.01 * Math.sin((from + i) * k));
    const whole = single(make, start(0, parts * part), rates);
    const pieces = Array.from({ length: parts }, (_, i) => single(make, start(i * part, part), rates));
    for (let k = 1; k < 12; k++) {
      whole.step(gradient(0, parts * part, k));
      for (const [i, piece] of pieces.entries()) piece.step(gradient(i * part, part, k));
      // Lets the threads start.
      if (k === 2) await new Promise((resolve) => setTimeout(resolve, 300));
    }
    const joined = await Promise.all(pieces.map((piece) => piece.variable.data()));
    expect(Array.from(await whole.variable.data())).toEqual(joined.flatMap((values) => Array.from(values)));
  });

  test('the tables of codes are made once, not in each step', async () => {
    await use('wasm', 2);
    // As many as 8-bit states are kept for.
    const gradient = new Float32Array(4096).fill(1);
    const run = single(adamw8bit, [...gradient], { learningRate: 1e-3, weightDecay: 0 });
    run.step(gradient);
    // Each entry of a table is found by looking at bits of numbers.
    const looks = vi.spyOn(DataView.prototype, 'getFloat32');
    run.step(gradient);
    expect(looks).not.toHaveBeenCalled();
    looks.mockRestore();
  });

  test('drifts from AdamW as far as bitsandbytes does', async () => {
    await use('wasm', 2);
    const n = 8192;
    const random = seededRandom(3).named('drift');
    const start = random.normals(new Float32Array(n)).map((x) => 0.1 * x);
    const rates = { learningRate: 1e-3, weightDecay: 1e-2 };
    const [small, whole] = [single(adamw8bit, [...start], rates), single(adamw, [...start], rates)];
    for (let k = 0; k < 50; k++) {
      const g = random.normals(new Float32Array(n)).map((x) => 0.01 * x);
      for (const run of [small, whole]) run.step(g);
    }
    const [a, b] = [await small.variable.data(), await whole.variable.data()];
    const drift = (a as Float32Array).reduce((sum, x, i) => sum + Math.abs(x - b[i]), 0) / n;
    // bitsandbytes comes to 1.24e-4 after 50 steps.
    expect(drift).toBeGreaterThan(1e-4);
    expect(drift).toBeLessThan(1.5e-4);
  });
});
