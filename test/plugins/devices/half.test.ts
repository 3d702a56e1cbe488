import { describe, expect, test } from 'vitest';
import { backward, compose, run, seededRandom, type Tensor, type Tensors, Trainer } from '../../../core/index.js';
import * as tf from '../../../core/tf.js';
import { arrays } from '../../../plugins/data/arrays.js';
import { tryDevice } from '../../../plugins/devices/choice/candidates.js';
import { geglu, silu } from '../../../plugins/devices/compute/activations.js';
import { operation } from '../../../plugins/devices/compute/contract.js';
import { upsample2x } from '../../../plugins/devices/compute/convolution.js';
import { addToPixels, dense } from '../../../plugins/devices/compute/dense.js';
import { fused } from '../../../plugins/devices/compute/fused.js';
import { inFull, inHalf } from '../../../plugins/devices/compute/half.js';
import { deviceOf } from '../../../plugins/devices/compute/installed.js';
import { groupNorm, layerNorm } from '../../../plugins/devices/compute/norms.js';
import type { WebGPUDevice } from '../../../plugins/devices/webgpu/device.js';
import { webgpu } from '../../../plugins/devices/webgpu.js';
import { lossScaling } from '../../../plugins/gradients/loss-scaling.js';
import { nonFiniteGuard } from '../../../plugins/gradients/non-finite-guard.js';
import { functionModel } from '../../../plugins/models/function-model.js';
import { supervisedObjective } from '../../../plugins/objectives/supervised-objective.js';
import { adamw } from '../../../plugins/optimizers/adamw.js';
import { relativeGap } from '../../support/devices.js';
import { countConversions } from '../../support/half.js';

const found = await tryDevice('webgpu');
if ('why' in found) console.log(`not tested here: half precision (${found.why})`);

const random = seededRandom(5);
/** Numbers that float16 holds: what is lost is lost by what is computed. */
const draw = (name: string, shape: number[]): Tensor =>
  tf.tensor(
    random
      .named(name)
      .normals(new Float32Array(shape.reduce((a, b) => a * b, 1)))
      .map((x) => Math.round(x * 512) / 512),
    shape,
  );

const isHalf = (x: Tensor): boolean => operation('precision')?.isHalf(x) === true;

/** Some of float16's spacing at the largest number. */
const ROUNDING = 2 ** -10;

/** What is named x or y is in half precision; all others are weights. */
const cases: [name: string, shapes: Record<string, number[]>, f: (t: Tensors) => Tensor][] = [
  ['groupNorm and silu', { x: [2, 9, 11, 40], g: [40], b: [40] }, ({ x, g, b }) => groupNorm(x, g, b, 8, 1e-5, true)],
  ['layerNorm', { x: [2, 35, 24], g: [24], b: [24] }, ({ x, g, b }) => layerNorm(x, g, b, 1e-5)],
  ['silu', { x: [3, 8] }, ({ x }) => silu(x)],
  ['geglu', { x: [3, 16] }, ({ x }) => geglu(x)],
  ['upsample2x', { x: [2, 3, 5, 8] }, ({ x }) => upsample2x(x)],
  ['sums of one shape', { x: [2, 3, 8], y: [2, 3, 8] }, ({ x, y }) => tf.add(x, y)],
  ['a row for each example', { x: [2, 9, 9, 8], r: [2, 8] }, ({ x, r }) => addToPixels(x, r)],
  ['products with a number', { x: [3, 8] }, ({ x }) => x.mul(0.5)],
  ['products of one shape', { x: [3, 8], y: [3, 8] }, ({ x, y }) => tf.mul(x, y)],
  ['skip connections', { x: [2, 3, 3, 8], y: [2, 3, 3, 16] }, ({ x, y }) => tf.concat([x, y], 3)],
];

const weightsFor = (y: Tensor): Tensor =>
  tf.tensor(
    Float32Array.from({ length: y.size }, (_, i) => Math.round(Math.sin(1 + i) * 64) / 64),
    y.shape,
  );

/** Of the sum of a result times weights. */
function gradientsOf(f: () => Tensor, of: Tensors): Tensors {
  const { loss, gradients } = backward(
    () => {
      const y = inFull(f());
      return y.mul(weightsFor(y)).sum() as tf.Scalar;
    },
    of,
    () => 1,
  );
  loss.dispose();
  return gradients;
}

describe.runIf('report' in found)('in half precision', () => {
  test.each(cases)('%s: as in single precision but for rounding, and nothing is turned into the other', async (name, shapes, f) => {
    const before = tf.memory().numTensors;
    const inputs: Tensors = Object.fromEntries(Object.entries(shapes).map(([key, shape]) => [key, draw(`${name}:${key}`, shape)]));
    const halved: Tensors = Object.fromEntries(
      Object.entries(inputs).map(([key, tensor]) => [key, key === 'x' || key === 'y' ? tf.tidy(() => inHalf(tensor)) : tensor.clone()]),
    );
    const conversions = countConversions();
    const output = tf.tidy(() => f(halved));
    expect(conversions()).toBe(0);
    expect(isHalf(output)).toBe(true);
    const expected = tf.tidy(() => f(inputs));
    expect(relativeGap(await output.data(), await expected.data())).toBeLessThan(ROUNDING);

    const exact = gradientsOf(() => f(inputs), inputs);
    const backwards = countConversions();
    const gradients = gradientsOf(() => f(halved), halved);
    // The result to float32, and its gradient to half.
    expect(backwards()).toBe(2);
    for (const key of Object.keys(shapes)) {
      expect([key, isHalf(gradients[key])]).toEqual([key, isHalf(halved[key])]);
      expect(relativeGap(await gradients[key].data(), await exact[key].data()), key).toBeLessThan(2 * ROUNDING);
    }
    tf.dispose([inputs, halved, output, expected, exact, gradients]);
    expect(tf.memory().numTensors).toBe(before);
  });

  test('of what is trained gradients stay in single precision, and so does what overflows: its step is skipped, the scale halved, and training goes on', async () => {
    const warnings: string[] = [];
    const [halves, scales]: [boolean[], unknown[]] = [[], []];
    const x = draw('x', [4, 8]);
    const data = { dtype: 'float32' as const, shape: [4, 8], data: (await x.data()) as Float32Array };
    x.dispose();
    const w = tf.variable(tf.fill([8, 8], 0.5));
    const trainer = new Trainer(
      compose(
        run({ steps: 3, learningRate: 1e-3, seed: 0 }),
        webgpu(),
        functionModel({ w }, (parameters, { x: given }) => inFull(silu(dense(inHalf(given as Tensor), parameters.w)))),
        supervisedObjective({ loss: 'mse' }),
        arrays({ x: data, y: data }, { batchSize: 2 }),
        adamw(),
        nonFiniteGuard(),
        lossScaling({ initialScale: 2 ** 40, factor: 2 ** 32 }),
        {
          name: 'watch',
          apply: ({ hooks }) => {
            hooks.shouldLog.tap(() => true);
            hooks.onGradient.tap((_, gradient) => {
              halves.push(isHalf(gradient));
            });
            hooks.onRecord.tap(({ lossScale }) => {
              scales.push(lossScale);
            });
          },
        },
      ),
      { warn: (text) => warnings.push(text) },
    );
    await trainer.train();
    w.dispose();
    expect([halves, scales]).toEqual([[false, false, false], new Array(3).fill(2 ** 8)]);
    expect(warnings).toEqual([expect.stringContaining('a gradient overflowed: its step was skipped')]);
  });

  test('softmax and its gradient, likewise', async () => {
    const before = tf.memory().numTensors;
    const [x, dp] = [draw('softmax', [5, 24]), draw('softmax gradient', [5, 24])];
    const both = (a: Tensor, b: Tensor) => {
      const [p] = fused('softmax', { x: a }, { scale: 0.5 }) as Tensor[];
      return [p, (fused('softmaxGrad', { p, dp: b }, { scale: 0.5 }) as Tensor[])[0]];
    };
    const [p, ds, halfP, halfDs] = tf.tidy(() => [...both(x, dp), ...both(inHalf(x), inHalf(dp))]);
    expect([p, ds, halfP, halfDs].map(isHalf)).toEqual([false, false, true, true]);
    expect(relativeGap(await halfP.data(), await p.data())).toBeLessThan(ROUNDING);
    expect(relativeGap(await halfDs.data(), await ds.data())).toBeLessThan(2 * ROUNDING);
    tf.dispose([x, dp, p, ds, halfP, halfDs]);
    expect(tf.memory().numTensors).toBe(before);
  });

  test('one shader computes products, whatever is added to them and wherever their tiles end', async () => {
    const device = deviceOf<WebGPUDevice>(tf.backend());
    const known = new Set(device.pipelines.keys());
    for (const [m, n, bias, rest] of [
      [64, 64, false, false],
      [70, 72, true, false],
      [70, 72, false, true],
      [3, 8, true, true],
    ] as const) {
      const name = `${m} ${n} ${bias} ${rest}`;
      const drawn = {
        x: draw(`${name}:x`, [m, 48]),
        w: draw(`${name}:w`, [48, n]),
        bias: draw(`${name}:bias`, [n]),
        rest: draw(`${name}:rest`, [m, n]),
      };
      const got = tf.tidy(() => {
        const added = { scale: 0.5, ...(bias ? { bias: drawn.bias } : {}), ...(rest ? { rest: inHalf(drawn.rest) } : {}) };
        return operation('product')?.(inHalf(drawn.x), inHalf(drawn.w), added) as Tensor;
      });
      expect(isHalf(got)).toBe(true);
      const values = Object.fromEntries(
        await Promise.all(Object.entries(drawn).map(async ([key, tensor]) => [key, await tensor.data()] as const)),
      );
      const expected = Float32Array.from({ length: m * n }, (_, at) => {
        const [row, column] = [Math.floor(at / n), at % n];
        let sum = 0;
        for (let k = 0; k < 48; k++) sum += values.x[row * 48 + k] * values.w[k * n + column];
        return 0.5 * sum + (bias ? values.bias[column] : 0) + (rest ? values.rest[at] : 0);
      });
      expect(relativeGap(await got.data(), expected), name).toBeLessThan(ROUNDING);
      tf.dispose([drawn, got]);
    }
    const made = [...device.pipelines.keys()].filter((key) => key.startsWith('product') && !known.has(key));
    expect(made).toHaveLength(1);
  });

  test('group norms keep what far from 0 differs little, whatever their size', async () => {
    const x = tf.tidy(() => draw('far', [1, 40, 30, 8]).mul(0.01).add(300));
    const [ones, zeros] = [tf.ones([8]), tf.zeros([8])];
    const y = tf.tidy(() => groupNorm(x, ones, zeros, 2, 1e-6, false));
    const values = await x.data();
    const channels = (i: number) => (i % 8 < 4 ? 0 : 1);
    const means = [0, 0];
    for (const [i, value] of values.entries()) means[channels(i)] += value / 4800;
    const squares = [0, 0];
    for (const [i, value] of values.entries()) squares[channels(i)] += (value - means[channels(i)]) ** 2 / 4800;
    const expected = Float32Array.from(values, (value, i) => (value - means[channels(i)]) / Math.sqrt(squares[channels(i)] + 1e-6));
    expect(relativeGap(await y.data(), expected)).toBeLessThan(1e-3);
    tf.dispose([x, y, ones, zeros]);
  });
});
