// What models compute with, stored in half precision, beside single precision on the same device: products, convolutions, attention and norms, with their gradients.
// Prints the largest difference of each over the largest value, and fails above what float16's rounding makes. Numbers are those that float16 holds.
//   npm run build && node test/parity/half-precision.mjs device [count]        of the cases so many are computed
import { backward, seededRandom } from '../../dist/core/index.js';
import * as tf from '../../dist/core/tf.js';
import { geglu, silu } from '../../dist/plugins/devices/compute/activations.js';
import { attention } from '../../dist/plugins/devices/compute/attention.js';
import { operation } from '../../dist/plugins/devices/compute/contract.js';
import { conv2d } from '../../dist/plugins/devices/compute/convolution.js';
import { dense } from '../../dist/plugins/devices/compute/dense.js';
import { inFull, inHalf } from '../../dist/plugins/devices/compute/half.js';
import { groupNorm, layerNorm } from '../../dist/plugins/devices/compute/norms.js';
import { device } from '../../dist/plugins/index.js';

const [name = 'webgpu', count = 'all'] = process.argv.slice(2);
const { detail } = await device(name).setUp();
console.log(`${name}: ${detail}`);
const { isHalf } = operation('precision');
const random = seededRandom(1);
const sizeOf = (shape) => shape.reduce((a, b) => a * b, 1);
const draw = (path, shape) => tf.tensor(random.named(path).normals(new Float32Array(sizeOf(shape))), shape);

/** Of x, y and z in half precision, and weights w that are frozen in it or, as t and b are, trained in single precision. */
const cases = [
  ['product', { x: [136, 200], w: [200, 144] }, ({ x, w }) => dense(x, w)],
  ['product of odd sizes, with a bias', { x: [2, 77, 51], w: [51, 37], b: [37] }, ({ x, w, b }) => dense(x, w, { bias: b })],
  ['product with a long sum', { x: [16, 4096], w: [4096, 24] }, ({ x, w }) => dense(x, w)],
  ['product with a trained weight', { x: [136, 200], t: [200, 16] }, ({ x, t }) => dense(x, t)],
  ...[
    [false, false],
    [true, false],
    [false, true],
    [true, true],
  ].map(([a, b]) => [
    `products of a batch${a ? ', the first transposed' : ''}${b ? ', the second transposed' : ''}`,
    { x: a ? [3, 77, 40] : [3, 40, 77], y: b ? [3, 24, 77] : [3, 77, 24] },
    ({ x, y }) => tf.matMul(x, y, a, b),
  ]),
  ['convolution of 3 x 3', { x: [2, 12, 10, 32], w: [3, 3, 32, 64] }, ({ x, w }) => conv2d(x, w, { stride: 1, pad: 1 })],
  ['convolution by 2', { x: [2, 14, 16, 24], w: [3, 3, 24, 40] }, ({ x, w }) => conv2d(x, w, { stride: 2, pad: 1 })],
  [
    'convolution with a trained filter and bias',
    { x: [1, 9, 9, 16], t: [3, 3, 16, 8], b: [8] },
    ({ x, t, b }) => conv2d(x, t, { stride: 1, pad: 1, bias: b }),
  ],
  ['convolution of 1 x 1', { x: [2, 8, 8, 32], w: [1, 1, 32, 48] }, ({ x, w }) => conv2d(x, w, { stride: 1, pad: 0 })],
  ['attention', { x: [2, 48, 64], y: [2, 40, 64], z: [2, 40, 64] }, ({ x, y, z }) => attention(x, y, z, 4)],
  ['group norm and silu', { x: [2, 9, 11, 40], t: [40], b: [40] }, ({ x, t, b }) => groupNorm(x, t, b, 8, 1e-5, true)],
  ['layer norm', { x: [2, 35, 24], t: [24], b: [24] }, ({ x, t, b }) => layerNorm(x, t, b, 1e-5)],
  ['silu', { x: [30, 48] }, ({ x }) => silu(x)],
  ['geglu', { x: [30, 96] }, ({ x }) => geglu(x)],
];

/** The result, and gradients of its product with numbers like it. */
function pass(f, inputs, dy) {
  let result;
  const { loss, gradients } = backward(
    () => {
      const y = inFull(f(inputs));
      result = tf.keep(y.clone());
      return y.mul(dy).sum();
    },
    inputs,
    () => 1,
  );
  loss.dispose();
  return { result, ...gradients };
}

const wrong = [];
for (const [label, shapes, f] of cases.slice(0, count === 'all' ? undefined : Number(count))) {
  const halved = {};
  const full = {};
  for (const [key, shape] of Object.entries(shapes)) {
    const drawn = draw(`${label}:${key}`, shape);
    const half = tf.tidy(() => inHalf(drawn));
    full[key] = tf.tidy(() => inFull(half).clone());
    halved[key] = 'tb'.includes(key) ? full[key].clone() : half;
  }
  const shape = tf.tidy(() => f(full).shape);
  const dy = draw(`${label}:dy`, shape);
  const [expected, actual] = [pass(f, full, dy), pass(f, halved, dy)];
  const parts = [];
  for (const [key, tensor] of Object.entries(actual)) {
    const [got, wanted] = [await tensor.data(), await expected[key].data()];
    let [gap, largest] = [0, 0];
    for (const [i, value] of wanted.entries()) {
      const difference = Math.abs(got[i] - value);
      if (!(difference <= gap)) gap = Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference;
      largest = Math.max(largest, Math.abs(value));
    }
    const error = gap / largest;
    if (!(error < 4e-3)) wrong.push(`${label}: ${key}`);
    // What is trained has its gradient in single precision.
    if ('tb'.includes(key) && isHalf(tensor)) wrong.push(`${label}: ${key} is in half precision`);
    parts.push(`${key} ${error.toExponential(1)}`);
  }
  console.log(`${label.padEnd(54)} ${parts.join(', ')}`);
}
console.log(wrong.length > 0 ? `wrong: ${wrong.join('; ')}` : 'all within rounding');
process.exit(wrong.length > 0 ? 1 : 0);
