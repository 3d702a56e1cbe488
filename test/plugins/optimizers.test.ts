import { readFileSync } from 'node:fs';
import * as tf from '@tensorflow/tfjs';
import { describe, expect, test } from 'vitest';
import { type Optimizer, type Parameter, type State, seededRandom } from '../../core/index.js';
import { adamw } from '../../plugins/optimizers/adamw.js';
import { sgd } from '../../plugins/optimizers/sgd.js';
import { relativeGap, testDevices, use } from '../support/devices.js';

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
}
const golden = JSON.parse(readFileSync(new URL('../fixtures/optimizers-golden.json', import.meta.url), 'utf8')) as Golden;
const gradient = (k: number) => [Math.sin(k), Math.cos(2 * k), 0.3 * k - 1];

for (const device of await testDevices()) {
  describe(`on ${device}`, () => {
    test('adamw gives the golden values of torch', async () => {
      await use(device);
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
      await use(device);
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
      await use(device);
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

    test.each([
      ['adamw', adamw],
      ['sgd', () => sgd({ momentum: 0.9 })],
    ] as [string, () => Ours][])('%s applies the scale, and keeps every old value where finite is 0', async (_, make) => {
      await use(device);
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

    test.each([
      ['adamw', adamw],
      ['sgd', () => sgd({ momentum: 0.9 })],
    ] as [string, () => Ours][])('%s resumes bit for bit, and leaks no tensor', async (_, make) => {
      await use(device);
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
