import { describe, expect, test } from 'vitest';
import { backward, seededRandom, type Tensor, type Tensors } from '../../../core/index.js';
import * as tf from '../../../core/tf.js';
import { geglu, gelu, quickGelu, silu } from '../../../plugins/devices/compute/activations.js';
import { attention } from '../../../plugins/devices/compute/attention.js';
import { operation } from '../../../plugins/devices/compute/contract.js';
import { conv2d, doubledConv2d, upsample2x } from '../../../plugins/devices/compute/convolution.js';
import { addToPixels, columnSum, dense, embedding } from '../../../plugins/devices/compute/dense.js';
import { deviceOf } from '../../../plugins/devices/compute/installed.js';
import { normalsOf } from '../../../plugins/devices/compute/normals.js';
import { groupNorm, layerNorm } from '../../../plugins/devices/compute/norms.js';
import type { WasmDevice } from '../../../plugins/devices/wasm/device.js';
import type { WebGPUDevice } from '../../../plugins/devices/webgpu/device.js';
import { isHalf, toHalf } from '../../../plugins/devices/webgpu/half.js';
import { webgpu } from '../../../plugins/devices/webgpu.js';
import { relativeGap, testDevices, use } from '../../support/devices.js';

const random = seededRandom(11);
const draw = (name: string, shape: number[], scale = 1): Tensor =>
  tf.tensor(
    random
      .named(name)
      .normals(new Float32Array(shape.reduce((a, b) => a * b, 1)))
      .map((x) => scale * x),
    shape,
  );

/** sum of weights times an operation's output: a scalar whose gradient reaches every element differently. */
const scalarOf = (y: Tensor): tf.Scalar =>
  y
    .mul(
      tf.tensor(
        Float32Array.from({ length: y.size }, (_, i) => Math.sin(1 + i)),
        y.shape,
      ),
    )
    .sum() as tf.Scalar;

/** Central differences, computed in the cpu backend's arithmetic. */
async function differences(
  f: (inputs: Tensors) => Tensor,
  values: Record<string, { data: Float32Array; shape: number[] }>,
  name: string,
  step: number,
) {
  const out = new Float32Array(values[name].data.length);
  for (let i = 0; i < out.length; i++) {
    const at = (delta: number) =>
      tf.tidy(() => {
        const tensors = Object.fromEntries(
          Object.entries(values).map(([key, { data, shape }]) => {
            const own = Float32Array.from(data);
            if (key === name) own[i] += delta;
            return [key, tf.tensor(own, shape)];
          }),
        );
        return scalarOf(f(tensors)).dataSync()[0];
      });
    out[i] = (at(step) - at(-step)) / (2 * step);
  }
  return out;
}

type Shapes = Record<string, number[]>;
const cases: [name: string, shapes: Shapes, f: (t: Tensors) => Tensor][] = [
  ['linear', { x: [2, 3, 5], w: [5, 4], b: [4] }, ({ x, w, b }) => dense(x, w, { bias: b })],
  ['linear with few columns', { x: [20, 18], w: [18, 20] }, ({ x, w }) => dense(x, w)],
  [
    'linear with an adapter and what else is added',
    { x: [2, 3, 8], w: [8, 4], bias: [4], rest: [2, 3, 4], a: [8, 2], b: [2, 4] },
    ({ x, w, bias, rest, a, b }) => dense(x, w, { bias, rest, adapter: { a, b, scale: 0.5 } }),
  ],
  [
    'conv2d 3 x 3 and what is added',
    { x: [1, 4, 4, 3], w: [3, 3, 3, 4], b: [4], rest: [1, 4, 4, 4] },
    ({ x, w, b, rest }) => conv2d(x, w, { stride: 1, pad: 1, bias: b, rest }),
  ],
  ['conv2d 3 x 3', { x: [2, 5, 6, 3], w: [3, 3, 3, 4], b: [4] }, ({ x, w, b }) => conv2d(x, w, { stride: 1, pad: 1, bias: b })],
  ['conv2d 3 x 3, more channels than are narrow', { x: [1, 3, 3, 2], w: [3, 3, 2, 18] }, ({ x, w }) => conv2d(x, w, { stride: 1, pad: 1 })],
  ['conv2d 3 x 3 by 2', { x: [2, 6, 6, 3], w: [3, 3, 3, 9] }, ({ x, w }) => conv2d(x, w, { stride: 2, pad: 1 })],
  ['conv2d 3 x 3 by 2, odd size', { x: [1, 5, 7, 2], w: [3, 3, 2, 18] }, ({ x, w }) => conv2d(x, w, { stride: 2, pad: 1 })],
  ['pixels doubled, and convolved', { x: [1, 2, 3, 3], w: [3, 3, 3, 4], b: [4] }, ({ x, w, b }) => doubledConv2d(x, w, { bias: b })],
  ['conv2d 1 x 1', { x: [2, 3, 3, 5], w: [1, 1, 5, 3], b: [3] }, ({ x, w, b }) => conv2d(x, w, { stride: 1, pad: 0, bias: b })],
  ['groupNorm', { x: [2, 3, 3, 6], g: [6], b: [6] }, ({ x, g, b }) => groupNorm(x, g, b, 2, 1e-5, false)],
  ['groupNorm and silu', { x: [2, 3, 3, 8], g: [8], b: [8] }, ({ x, g, b }) => groupNorm(x, g, b, 4, 1e-5, true)],
  ['layerNorm', { x: [2, 3, 7], g: [7], b: [7] }, ({ x, g, b }) => layerNorm(x, g, b, 1e-5)],
  // Heads as wide as those of a test in tiles below, whose shaders a device has then.
  ['attention', { q: [2, 3, 32], k: [2, 4, 32], v: [2, 4, 32] }, ({ q, k, v }) => attention(q, k, v, 2)],
  [
    'attention with a mask',
    { q: [1, 3, 4], k: [1, 3, 4], v: [1, 3, 4] },
    ({ q, k, v }) => attention(q, k, v, 2, tf.tensor2d([0, -1e9, -1e9, 0, 0, -1e9, 0, 0, 0], [3, 3])),
  ],
  ['silu', { x: [3, 5] }, ({ x }) => silu(x)],
  ['geglu', { x: [3, 10] }, ({ x }) => geglu(x)],
  ['gelu', { x: [3, 5] }, ({ x }) => gelu(x)],
  ['quickGelu', { x: [3, 5] }, ({ x }) => quickGelu(x)],
  ['rows added to pixels', { x: [2, 3, 2, 5], rows: [2, 5] }, ({ x, rows }) => addToPixels(x, rows)],
  [
    'side by side, and apart again',
    { x: [2, 3, 5], y: [2, 3, 2] },
    ({ x, y }) => {
      const [first, second] = tf.split(tf.concat([x, y], 2), [3, 4], 2);
      return tf.concat([first.mul(second.slice([0, 0, 1])), second], -1);
    },
  ],
  ['upsample2x', { x: [2, 2, 3, 2] }, ({ x }) => upsample2x(x)],
  ['embedding', { table: [6, 3] }, ({ table }) => embedding(table, tf.tensor2d([0, 2, 2, 5], [2, 2], 'int32'))],
];

const devices = await testDevices();

for (const device of devices) {
  describe(`on ${device}`, () => {
    test.each(cases)('%s: output as on the cpu, gradients as finite differences', async (name, shapes, f) => {
      await use('cpu');
      const values = Object.fromEntries(
        await Promise.all(
          Object.entries(shapes).map(async ([key, shape]) => {
            const data = Float32Array.from(await draw(`${name}:${key}`, shape).data());
            if (key === 'g') for (let i = 0; i < data.length; i++) data[i] = 1 + 0.2 * data[i];
            return [key, { data, shape }] as const;
          }),
        ),
      );
      const expected = await tf
        .tidy(() => f(Object.fromEntries(Object.entries(values).map(([key, { data, shape }]) => [key, tf.tensor(data, shape)]))))
        .data();
      const slopes: Record<string, Float32Array> = {};
      for (const key of Object.keys(values)) slopes[key] = await differences(f, values, key, 1e-2);

      await use(device, 2);
      const variables: Tensors = Object.fromEntries(
        Object.entries(values).map(([key, { data, shape }]) => [key, tf.variable(tf.tensor(data, shape))]),
      );
      const before = tf.memory().numTensors;
      const output = tf.tidy(() => f(variables));
      expect(relativeGap(await output.data(), expected)).toBeLessThan(device === 'webgpu' ? 1e-4 : 1e-5);
      output.dispose();
      const { loss, gradients } = backward(
        () => scalarOf(f(variables)),
        variables,
        () => 1,
      );
      for (const key of Object.keys(values)) expect(relativeGap(await gradients[key].data(), slopes[key]), key).toBeLessThan(5e-3);
      tf.dispose([loss, gradients]);
      expect(tf.memory().numTensors).toBe(before);
      tf.dispose(variables);
    });

    test('columnSum of many rows', async () => {
      await use(device, 2);
      const x = draw('rows', [1000, 6]);
      expect(relativeGap(await columnSum(x).data(), await x.sum(0).data())).toBeLessThan(1e-5);
    });
  });
}

const tiled = (['wasm', 'webgpu'] as const).filter((device) => devices.includes(device));

describe.each(tiled)('on %s in tiles', (device) => {
  // Several tiles with a rest each; channels, and rows of pixels, that fill whole steps of the inner axis, and that do not; sums that are cut in slices; on wasm
  // those that are transformed, with a last row and column of half a tile, and those that are not.
  test.each([
    { x: [4, 12, 12, 16], w: [3, 3, 16, 80], stride: 1, pad: 1 },
    { x: [2, 9, 7, 32], w: [3, 3, 32, 24], stride: 2, pad: 1 },
    { x: [2, 9, 8, 20], w: [3, 3, 20, 32], stride: 2, pad: 1 },
    { x: [2, 5, 64, 8], w: [3, 3, 8, 24], stride: 1, pad: 1 },
    ...(device === 'wasm'
      ? [
          { x: [3, 7, 9, 20], w: [3, 3, 20, 28], stride: 1, pad: 1 },
          { x: [1, 33, 18, 16], w: [3, 3, 16, 20], stride: 1, pad: 0 },
          { x: [2, 6, 5, 18], w: [3, 3, 18, 21], stride: 1, pad: 1 },
          { x: [2, 11, 8, 5], w: [4, 5, 5, 6], stride: 3, pad: 2 },
        ]
      : []),
  ])('convolution is what it is on the cpu: $x by $w, stride $stride, padded by $pad', async ({ x, w, stride, pad }) => {
    const compute = async (name: 'cpu' | 'wasm' | 'webgpu') => {
      await use(name, 2);
      const inputs: Tensors = { x: tf.variable(draw('tiles:x', x)), w: tf.variable(draw('tiles:w', w)) };
      const f = () => conv2d(inputs.x, inputs.w, { stride, pad });
      const output = tf.tidy(f);
      const { loss, gradients } = backward(
        () => scalarOf(f()),
        inputs,
        () => 1,
      );
      const all = await Promise.all([output, gradients.x, gradients.w].map((tensor) => tensor.data()));
      tf.dispose([output, loss, gradients, inputs]);
      return all;
    };
    const [expected, got] = [await compute('cpu'), await compute(device)];
    for (const [i, values] of got.entries()) expect(relativeGap(values, expected[i]), ['output', 'dx', 'dw'][i]).toBeLessThan(1e-5);
  });

  test.each([
    { x: [2, 5, 3, 20], w: [3, 3, 20, 28] },
    { x: [1, 8, 6, 16], w: [3, 3, 16, 16] },
    { x: [2, 3, 3, 6], w: [3, 3, 6, 4] },
  ])('a convolution of doubled pixels is what it is on the cpu: $x by $w', async ({ x, w }) => {
    const compute = async (name: 'cpu' | 'wasm' | 'webgpu') => {
      await use(name, 2);
      const inputs: Tensors = {
        x: tf.variable(draw('doubled:x', x)),
        w: tf.variable(draw('doubled:w', w)),
        b: tf.variable(draw('doubled:b', [w[3]])),
      };
      const f = () => doubledConv2d(inputs.x, inputs.w, { bias: inputs.b });
      const output = tf.tidy(f);
      const { loss, gradients } = backward(
        () => scalarOf(f()),
        inputs,
        () => 1,
      );
      const all = await Promise.all([output, gradients.x, gradients.w, gradients.b].map((tensor) => tensor.data()));
      tf.dispose([output, loss, gradients, inputs]);
      return all;
    };
    const [expected, got] = [await compute('cpu'), await compute(device)];
    for (const [i, values] of got.entries()) expect(relativeGap(values, expected[i]), ['output', 'dx', 'dw', 'db'][i]).toBeLessThan(1e-5);
  });

  test('one number is added to all of a product, and of a convolution', async () => {
    const compute = async (name: 'cpu' | 'wasm' | 'webgpu') => {
      await use(name, 2);
      const made = tf.tidy(() => {
        const [a, b, x, w] = [
          [3, 6],
          [6, 8],
          [1, 4, 4, 3],
          [3, 3, 3, 8],
        ].map((shape) => draw(`one number:${shape}`, shape));
        const bias = tf.scalar(1.5);
        return [
          tf.fused.matMul({ a: a as tf.Tensor2D, b: b as tf.Tensor2D, bias }),
          // TensorFlow.js's own kernel for wasm refuses it.
          ...(name === 'wasm' ? [] : [tf.fused.conv2d({ x: x as tf.Tensor4D, filter: w as tf.Tensor4D, strides: 1, pad: 'same', bias })]),
        ];
      });
      const values = await Promise.all(made.map((tensor) => tensor.data()));
      tf.dispose(made);
      return values;
    };
    const [expected, got] = [await compute('cpu'), await compute(device)];
    for (const [i, values] of got.entries()) expect(relativeGap(values, expected[i])).toBeLessThan(1e-5);
  });

  // Shared among threads, in pieces with a rest; repeated along inner and outer axes, and along more than the kernels take.
  test.each([
    [
      [3, 50, 70],
      [3, 50, 70],
    ],
    [[20000], []],
    [[], [2, 9001]],
    [
      [6, 4, 4, 70],
      [6, 1, 1, 70],
    ],
    [
      [6, 40, 7],
      [6, 1, 1],
    ],
    [
      [3, 1, 50],
      [1, 40, 1],
    ],
    [
      [4, 1, 1, 9],
      [5, 1, 9],
    ],
    [
      [2, 1, 3, 1],
      [1, 2, 1, 3],
    ],
    [[0, 3], [3]],
  ] as [number[], number[]][])('%j and %j, number by number, are what they are on the cpu', async (a, b) => {
    const compute = async (name: 'cpu' | 'wasm' | 'webgpu') => {
      await use(name, 2);
      const made = tf.tidy(() => {
        const [x, y] = [draw('elementwise:a', a), draw('elementwise:b', b)];
        return [x.add(y), x.sub(y), x.mul(y), x.div(y), x.square()];
      });
      const values = await Promise.all(made.map((tensor) => tensor.data()));
      const { shape } = made[0];
      tf.dispose(made);
      return { shape, values };
    };
    const [expected, got] = [await compute('cpu'), await compute(device)];
    expect(got.shape).toEqual(expected.shape);
    for (const [i, values] of got.values.entries())
      if (expected.values[i].length > 0)
        expect(relativeGap(values, expected.values[i]), `${i}`).toBeLessThan(device === 'wasm' ? 1e-7 : 1e-5);
      else expect(values).toHaveLength(0);
  });

  // Several tiles of queries and keys with a rest each; few keys (cut in slices), and heads that are no vectors of 4; heads that are there in pieces.
  test.each([
    { n: 2, heads: 2, lq: 60, lk: 50, d: 16 },
    { n: 1, heads: 3, lq: 200, lk: 9, d: 3 },
    { n: 1, heads: 1, lq: 20, lk: 20, d: 60 },
  ])('attention is what it is on the cpu: $lq queries, $lk keys, heads of $d', async ({ n, heads, lq, lk, d }) => {
    const shapes = { q: [n, lq, heads * d], k: [n, lk, heads * d], v: [n, lk, heads * d] };
    const names = Object.keys(shapes) as (keyof typeof shapes)[];
    const compute = async (name: 'cpu' | 'wasm' | 'webgpu') => {
      await use(name, 2);
      const inputs: Tensors = Object.fromEntries(names.map((key) => [key, tf.variable(draw(`tiles:${key}`, shapes[key]))]));
      const output = tf.tidy(() => attention(inputs.q, inputs.k, inputs.v, heads));
      const { loss, gradients } = backward(
        () => scalarOf(attention(inputs.q, inputs.k, inputs.v, heads)),
        inputs,
        () => 1,
      );
      const values = await Promise.all([output, ...names.map((key) => gradients[key])].map((t) => t.data()));
      tf.dispose([output, loss, gradients, inputs]);
      return values;
    };
    const [expected, actual] = [await compute('cpu'), await compute(device)];
    for (const [i, name] of ['output', ...names].entries()) expect(relativeGap(actual[i], expected[i]), name).toBeLessThan(2e-5);
  });

  test.each([
    [3, 5, 7, false, false],
    [50, 33, 41, false, true],
    [26, 70, 8, true, false],
    [9, 20, 13, true, true],
  ])(
    'a product of %i x %i x %i, transposed %s and %s, is what it is on the cpu, with all that is added',
    async (m, k, n, transposeA, transposeB) => {
      await use('cpu');
      const shapes = {
        a: transposeA ? [k, m] : [m, k],
        b: transposeB ? [n, k] : [k, n],
        low: [m, 3],
        up: transposeB ? [n, 3] : [3, n],
        bias: [n],
        rest: [m, n],
      };
      const values = Object.entries(shapes).map(([key, shape]) => [key, shape, draw(`product:${key}`, shape).dataSync()] as const);
      const made = () => {
        const tensors: [string, Tensor][] = values.map(([key, shape, data]) => [key, tf.tensor(data, shape)]);
        return Object.fromEntries(tensors) as Record<keyof typeof shapes, tf.Tensor2D>;
      };
      const plain = tf.tidy(() => {
        const { a, b, low, up, bias, rest } = made();
        const sum = tf.matMul(a, b, transposeA, transposeB).add(tf.matMul(low, up, false, transposeB));
        return sum.mul(0.5).add(bias).add(rest).dataSync();
      });
      await use(device, 2);
      const got = tf.tidy(() => {
        const { a, b, low, up, bias, rest } = made();
        return operation('product')?.(a, b, { transposeA, transposeB, scale: 0.5, bias, rest, more: { a: low, b: up } }) as Tensor;
      });
      expect(got.shape).toEqual([m, n]);
      expect(relativeGap(await got.data(), plain)).toBeLessThan(1e-5);
      got.dispose();
    },
  );
});

if (devices.includes('webgpu'))
  test('attention on WebGPU reads what is stored in half precision, and answers so', async () => {
    const [n, heads, lq, lk, c] = [2, 2, 40, 70, 16];
    const shapes = { q: [n, lq, c], k: [n, lk, c], v: [n, lk, c], dy: [n, lq, c] };
    const names = ['q', 'k', 'v'] as const;
    await use('cpu');
    const on = (name: keyof typeof shapes) => draw(`half:${name}`, shapes[name]);
    const { y, dx } = tf.tidy(() => {
      const { value, grads } = tf.valueAndGrads((q, k, v) => attention(q, k, v, heads).mul(on('dy')).sum() as tf.Scalar)([
        on('q'),
        on('k'),
        on('v'),
      ]);
      value.dispose();
      return { y: attention(on('q'), on('k'), on('v'), heads), dx: grads };
    });
    const expected = await Promise.all([y, ...dx].map((tensor) => tensor.data()));
    tf.dispose([y, dx]);

    await use('webgpu');
    const device = deviceOf<WebGPUDevice>(tf.backend());
    const before = tf.memory().numTensors;
    const halfOf = (name: keyof typeof shapes): Tensor =>
      tf.tidy(() => tf.engine().makeTensorFromTensorInfo(toHalf(device, on(name))) as Tensor);
    const [q, k, v, dy] = [...names, 'dy' as const].map(halfOf);
    const whole = operation('attention');
    if (!whole) throw new Error('no attention');
    const { result, sumLogs } = whole.forward(q, k, v, heads);
    const { dq, dk, dv } = whole.backward(dy, { q, k, v, result, sumLogs }, heads);
    for (const [i, tensor] of [result, dq, dk, dv].entries()) {
      const name = ['output', ...names][i];
      expect(isHalf(device, tensor), name).toBe(true);
      expect(relativeGap(await tensor.data(), expected[i]), name).toBeLessThan(2e-3);
    }
    tf.dispose([q, k, v, dy, result, sumLogs, dq, dk, dv]);
    expect(tf.memory().numTensors).toBe(before);
  });

if (devices.includes('webgpu'))
  test('an error that the WebGPU driver reports on the side ends the computation', async () => {
    await use('webgpu');
    const { device } = tf.backend() as unknown as { device: { createBuffer(o: object): unknown } };
    const compute = async () => {
      const y = tf.tidy(() => tf.ones([64, 64]).mul(3));
      const values = await y.data().finally(() => y.dispose());
      return values[0];
    };
    expect(await compute()).toBe(3);
    device.createBuffer({ size: 16, usage: 0 });
    await new Promise((done) => setTimeout(done, 50));
    await expect(compute()).rejects.toThrow(/DEVICE_FAILED.*usages must not be 0/s);
    expect(await compute()).toBe(3);
  });

if (devices.includes('webgpu'))
  test('what was prefetched to WebGPU can still be looked at on the host, and is not sent again', async () => {
    await use('webgpu');
    const { queue } = tf.backend() as unknown as { queue: { writeBuffer(...args: unknown[]): void } };
    const x = tf.tensor1d(Float32Array.from({ length: 1000 }, (_, i) => i));
    webgpu().upload(x);
    expect(x.dataSync()[999]).toBe(999);
    const write = queue.writeBuffer;
    let sent = 0;
    queue.writeBuffer = (...args) => {
      if (args[2] instanceof ArrayBuffer && args[4] === x.size * 4) sent++;
      write.apply(queue, args);
    };
    const y = tf.neg(x);
    expect((await y.data())[999]).toBe(-999);
    queue.writeBuffer = write;
    expect(sent).toBe(0);
    tf.dispose([x, y]);
  });

describe('kernels supplied to wasm, against finite differences', () => {
  const cases: [string, Shapes, (t: Tensors) => Tensor][] = [
    ['a product with both transposed', { a: [3, 4, 2], b: [3, 5, 4] }, ({ a, b }) => tf.matMul(a, b, true, true)],
    ['a large product, transposed', { a: [40, 2], b: [3, 40] }, ({ a, b }) => tf.matMul(a, b, true, true)],
    [
      'fused product with bias and transpose',
      { a: [4, 3], b: [5, 3], bias: [5] },
      ({ a, b, bias }) => tf.fused.matMul({ a: a as tf.Tensor2D, b: b as tf.Tensor2D, transposeB: true, bias, activation: 'sigmoid' }),
    ],
    [
      'depthwise convolution',
      { x: [1, 4, 4, 2], w: [3, 3, 2, 1] },
      ({ x, w }) => tf.depthwiseConv2d(x as tf.Tensor4D, w as tf.Tensor4D, 1, 'same'),
    ],
    ['max pooling of negative numbers', { x: [1, 4, 4, 2] }, ({ x }) => tf.maxPool(x.sub(10) as tf.Tensor4D, 2, 2, 'valid')],
    ['max pooling of overlapping windows, padded', { x: [1, 4, 5, 1] }, ({ x }) => tf.maxPool(x.sub(1) as tf.Tensor4D, 3, 2, 'same')],
    ['gather', { x: [5, 3] }, ({ x }) => tf.gather(x, tf.tensor1d([1, 1, 4], 'int32'))],
    ['conv3d', { x: [1, 3, 3, 3, 2], w: [2, 2, 2, 2, 2] }, ({ x, w }) => tf.conv3d(x as tf.Tensor5D, w as tf.Tensor5D, 1, 'same')],
  ];
  test.each(cases)('%s', async (name, shapes, f) => {
    await use('cpu');
    const values = Object.fromEntries(
      await Promise.all(
        Object.entries(shapes).map(
          async ([key, shape]) => [key, { data: Float32Array.from(await draw(`${name}:${key}`, shape).data()), shape }] as const,
        ),
      ),
    );
    const slopes: Record<string, Float32Array> = {};
    for (const key of Object.keys(values)) slopes[key] = await differences(f, values, key, 1e-2);
    const expected = await tf
      .tidy(() => f(Object.fromEntries(Object.entries(values).map(([key, { data, shape }]) => [key, tf.tensor(data, shape)]))))
      .data();
    await use('wasm', 2);
    const variables: Tensors = Object.fromEntries(
      Object.entries(values).map(([key, { data, shape }]) => [key, tf.variable(tf.tensor(data, shape))]),
    );
    expect(relativeGap(await tf.tidy(() => f(variables)).data(), expected)).toBeLessThan(1e-5);
    const { gradients } = backward(
      () => scalarOf(f(variables)),
      variables,
      () => 1,
    );
    for (const key of Object.keys(values)) expect(relativeGap(await gradients[key].data(), slopes[key]), key).toBeLessThan(5e-3);
  });

  test('einsum, which wasm lacks', async () => {
    const run = () => tf.einsum('ij,jk->ik', tf.tensor2d([1, 2, 3, 4], [2, 2]), tf.tensor2d([5, 6, 7, 8], [2, 2])).data();
    await use('wasm', 2);
    expect([...(await run())]).toEqual([19, 22, 43, 50]);
  });

  test('a weight changed in place is used, not what XNNPACK packed of the old one', async () => {
    await use('wasm', 2);
    const { adamw } = await import('../../../plugins/optimizers/adamw.js');
    const x = draw('x', [64, 64]);
    const image = draw('image', [1, 4, 4, 32]);
    const variables = { w: tf.variable(draw('w', [64, 64])), filter: tf.variable(draw('filter', [3, 3, 32, 32])) };
    const outputs = async () => [
      await tf.tidy(() => tf.matMul(x as tf.Tensor2D, variables.w as tf.Tensor2D)).data(),
      await tf.tidy(() => tf.conv2d(image as tf.Tensor4D, variables.filter as tf.Tensor4D, 1, 'same')).data(),
    ];
    const before = await outputs();
    const optimizer = adamw();
    optimizer.start(new Map(Object.entries(variables).map(([path, variable]) => [path, { variable, trainable: true, group: 'g' }])));
    optimizer.update(
      { gradients: { w: tf.onesLike(variables.w), filter: tf.onesLike(variables.filter) }, scale: 1, finite: 1 },
      { g: { learningRate: 1, weightDecay: 0 } },
    );
    const after = await outputs();
    const fresh = { w: tf.tensor(await variables.w.data(), [64, 64]), filter: tf.tensor(await variables.filter.data(), [3, 3, 32, 32]) };
    expect(relativeGap(after[0], await tf.matMul(x as tf.Tensor2D, fresh.w as tf.Tensor2D).data())).toBeLessThan(1e-5);
    expect(relativeGap(after[1], await tf.conv2d(image as tf.Tensor4D, fresh.filter as tf.Tensor4D, 1, 'same').data())).toBeLessThan(1e-5);
    expect(relativeGap(after[0], before[0])).toBeGreaterThan(0.1);
    optimizer.dispose();
  });

  test('what is kept of a weight gives the same bits, is not used once the weight has changed, and is freed with it', async () => {
    await use('wasm', 2);
    const device = deviceOf<WasmDevice>(tf.backend());
    const { sgd } = await import('../../../plugins/optimizers/sgd.js');
    const [x, image] = [draw('x', [20, 64]), draw('image', [2, 8, 8, 32])];
    const [w, filter] = [draw('w', [64, 24]), draw('filter', [3, 3, 32, 32])].map((start) => {
      const variable = tf.variable(start);
      start.dispose();
      return variable;
    });
    const all = async () => {
      const made = tf.tidy(() => [dense(x, w), conv2d(image, filter, { stride: 1, pad: 1 }), doubledConv2d(image, filter)]);
      const values = await Promise.all(made.map((tensor) => tensor.data()));
      tf.dispose(made);
      return values;
    };
    const plain = await all();
    const bytes = device.kept.bytes;
    operation('keepsValues')?.([w, filter]);
    expect(await all()).toEqual(plain);
    const kept = device.kept.bytes;
    expect(kept).toBe(bytes + 4 * (64 * 24 + 2 * 36 * 32 * 32));
    expect(await all()).toEqual(plain);
    expect(device.kept.bytes).toBe(kept);

    // Changed in place; given other values; disposed.
    const optimizer = sgd();
    optimizer.start(new Map([['filter', { variable: filter, trainable: true, group: 'g' }]]));
    optimizer.update({ gradients: { filter: tf.onesLike(filter) }, scale: 1, finite: 1 }, { g: { learningRate: 1, weightDecay: 0 } });
    expect(device.kept.bytes).toBe(bytes + 4 * 64 * 24);
    const changed = await all();
    expect(relativeGap(changed[1], plain[1])).toBeGreaterThan(0.1);
    const fresh = tf.tensor(await filter.data(), [3, 3, 32, 32]);
    expect(changed[1]).toEqual(await conv2d(image, fresh, { stride: 1, pad: 1 }).data());
    tf.tidy(() => w.assign(w.mul(2)));
    expect(device.kept.bytes).toBe(bytes);
    expect(
      relativeGap(
        (await all())[0],
        plain[0].map((value) => 2 * value),
      ),
    ).toBeLessThan(1e-6);
    operation('keepsValues')?.([w]);
    await all();
    expect(device.kept.bytes).toBe(bytes + 4 * 64 * 24);
    w.dispose();
    expect(device.kept.bytes).toBe(bytes);
    optimizer.dispose();
    tf.dispose([x, image, filter, fresh]);
  });

  test('our module works in the backend’s own memory', async () => {
    await use('wasm', 2);
    expect(typeof deviceOf<WasmDevice>(tf.backend()).module.product).toBe('function');
  });
});

test.each(devices)('normal numbers drawn on %s are those drawn on the host', async (device) => {
  await use(device, 2);
  const ids = [0, 3, 70000];
  const generators = () => ids.map((id) => seededRandom(2 ** 40 + 5).item('noise', 2, id));
  const before = tf.memory().numTensors;
  // Not a multiple of four, and enough for a few thousand radii near 0; then less than a block.
  for (const [shape, size] of [
    [[41, 1001], 41041],
    [[3], 3],
  ] as const) {
    const drawn = normalsOf(generators(), shape);
    expect(drawn.shape).toEqual([3, ...shape]);
    const rows = drawn.reshape([3, size]);
    for (const [i, generator] of generators().entries()) {
      const own = rows.slice([i, 0], [1, size]);
      expect(relativeGap(await own.data(), generator.normals(new Float32Array(size)))).toBeLessThan(1e-6);
      own.dispose();
    }
    tf.dispose([drawn, rows]);
  }
  expect(tf.memory().numTensors).toBe(before);
});
