// What the kernels of a device reach, in TFLOP/s: products, convolutions with their gradients, and attention forward and backward.
//   npm run build && node test/bench/kernels.mjs [device] [scale] [half]
// `scale` divides the sizes (16 for a try without a GPU); with `half`, tensors are stored in half precision where the device can. Each figure is of launches in a row that are waited for once, after two seconds to warm up: the median of five rounds and, since others may use the GPU as well, the best.

import { backward } from '../../dist/core/index.js';
import * as tf from '../../dist/core/tf.js';
import { attention } from '../../dist/plugins/devices/compute/attention.js';
import { operation } from '../../dist/plugins/devices/compute/contract.js';
import { inFull } from '../../dist/plugins/devices/compute/half.js';
import { device } from '../../dist/plugins/index.js';

const name = process.argv[2] ?? 'webgpu';
const scale = Number(process.argv[3] ?? 1);
const { detail } = await device(name).setUp();
console.log(`${name}: ${detail}`);

const down = (size) => Math.max(1, Math.round(size / scale));
const precision = process.argv[4] === 'half' ? operation('precision') : undefined;
const random = (shape) =>
  tf.tidy(() => {
    const x = tf.randomNormal(shape, 0, 1, 'float32', 1);
    return tf.variable(precision?.fits(shape) ? precision.half(x) : x);
  });

/** Prints the rate of `launch`, which returns tensors, at so many floating-point operations. */
async function rate(label, operations, launch, most = 20) {
  const launches = scale > 1 ? 1 : most;
  const round = async () => {
    let last = [];
    for (let i = 0; i < launches; i++) {
      tf.dispose(last);
      last = launch();
    }
    await last[0].flatten().slice(0, 1).data();
    tf.dispose(last);
  };
  // Whatever the host did before, clocks and memory are ready then.
  const begun = performance.now();
  do await round();
  while (scale === 1 && performance.now() - begun < 2000);
  const times = [];
  for (let i = 0; i < (scale > 1 ? 1 : 5); i++) {
    const start = performance.now();
    await round();
    times.push((performance.now() - start) / launches);
  }
  times.sort((a, b) => a - b);
  const median = times[times.length >> 1];
  const rates = [median, times[0]].map((ms) => (operations / ms / 1e9).toFixed(2).padStart(8));
  console.log(`${label.padEnd(62)} ${median.toFixed(3).padStart(9)} ms ${rates.join(', best')} TFLOP/s`);
}

/** Gradients of the sum of f's result, with forward pass. Most of the sum is a product: TensorFlow.js's own sum of so much takes longer than f. */
const gradients = (f, inputs) => {
  const { loss, gradients } = backward(
    () => {
      const y = inFull(f(inputs));
      const flat = y.reshape([-1, y.shape.at(-1)]);
      return tf.matMul(tf.ones([1, flat.shape[0]]), flat).sum();
    },
    inputs,
    () => 1,
  );
  return [loss, ...Object.values(gradients)];
};

{
  const n = down(4096);
  const [a, b] = [random([n, n]), random([n, n])];
  for (const [ta, tb] of [
    [false, false],
    [false, true],
    [true, false],
  ])
    await rate(`product ${n}${ta ? ', a transposed' : ''}${tb ? ', b transposed' : ''}`, 2 * n ** 3, () => [tf.matMul(a, b, ta, tb)]);
  tf.dispose([a, b]);
}
{
  const [n, side, c] = [down(16), down(64), down(320)];
  const [x, w] = [random([n, side, side, c]), random([3, 3, c, c])];
  const dy = random([n, side, side, c]);
  const operations = 2 * n * side * side * 9 * c * c;
  const of = `[${n}, ${side}, ${side}, ${c}]`;
  await rate(`convolution 3 x 3 of ${of}`, operations, () => [tf.conv2d(x, w, 1, 'same')]);
  const attributes = { strides: 1, pad: 'same', dataFormat: 'NHWC', dimRoundingMode: undefined };
  const run = (kernel, inputs, more) => [tf.engine().runKernel(kernel, inputs, { ...attributes, ...more })];
  await rate('its gradient to x', operations, () => run('Conv2DBackpropInput', { dy, filter: w }, { inputShape: x.shape }));
  await rate('its gradient to the filter', operations, () => run('Conv2DBackpropFilter', { x, dy }, { filterShape: w.shape }));
  tf.dispose([x, w, dy]);
}
for (const [n, lq, lk, heads, d] of [
  [4, 4096, 4096, 8, 40],
  [4, 4096, 77, 8, 40],
  [4, 1024, 1024, 8, 80],
  [4, 256, 256, 8, 160],
  [1, 4096, 4096, 10, 64],
  [1, 4096, 4096, 1, 512],
]) {
  const c = heads * d;
  const [q, k, v] = [random([n, down(lq), c]), random([n, down(lk), c]), random([n, down(lk), c])];
  const operations = 4 * n * down(lq) * down(lk) * c;
  const label = `attention of ${n} x ${down(lq)} to ${down(lk)}, ${heads} heads of ${d}`;
  await rate(`${label}, forward`, operations, () => [attention(q, k, v, heads)]);
  // The backward pass has five products of that size against the forward pass's two.
  await rate(`${label}, both`, 3.5 * operations, () => gradients((x) => attention(x.q, x.k, x.v, heads), { q, k, v }), 10);
  tf.dispose([q, k, v]);
}
process.exit();
