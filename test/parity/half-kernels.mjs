// Products and convolutions of operands stored in half precision, on tensor cores where the adapter has them, against float64: every transpose, odd sizes, batches, bias, what else is added,
// another product of float32 matrices, slices of a long inner axis. Prints the error of each over its largest value, and fails above float16's rounding.
// Attention's: test/bench/attention.mjs. Run after npm run build on the machine with the GPU; `count` cases alone where compiling takes long.
//   node test/parity/half-kernels.mjs [count]

import { seededRandom } from '../../dist/core/index.js';
import * as tf from '../../dist/core/tf.js';
import { installedIn } from '../../dist/plugins/devices/compute/installed.js';
import { convInfo } from '../../dist/plugins/devices/compute/kernels.js';
import { conv2d, conv2dFilterGradient, conv2dInputGradient } from '../../dist/plugins/devices/webgpu/convolution.js';
import { toHalf } from '../../dist/plugins/devices/webgpu/half.js';
import { matMul } from '../../dist/plugins/devices/webgpu/matrix.js';
import { fitsHalf } from '../../dist/plugins/devices/webgpu/storage.js';
import { device as chosen } from '../../dist/plugins/index.js';

const most = Number(process.argv[2] ?? Number.POSITIVE_INFINITY);
const { detail } = await chosen('webgpu').setUp();
const device = installedIn(tf.backend());
console.log(`${detail}, ${device.tensorCores ? 'with' : 'without'} tensor cores`);
const tracked = (made) => tf.engine().makeTensorFromTensorInfo(made);
const random = seededRandom(1);
let draws = 0;
const sizeOf = (shape) => shape.reduce((a, b) => a * b, 1);

/** A tensor, stored in half precision where it can be and is wanted, with the numbers that are then in it. */
async function draw(shape, half = true) {
  const full = tf.tensor(random.named(`${draws++}`).normals(new Float32Array(sizeOf(shape))), shape);
  const tensor = half && fitsHalf(shape) ? tracked(toHalf(device, full)) : full;
  return { tensor, values: await tensor.data(), shape };
}

const failed = [];
let cases = 0;
async function compare(label, tensor, expected, bound) {
  const got = await tensor.data();
  let [worst, largest] = [0, 0];
  for (const [i, value] of expected.entries()) {
    const gap = Math.abs(got[i] - value);
    if (!(gap <= worst)) worst = Number.isNaN(gap) ? Number.POSITIVE_INFINITY : gap;
    largest = Math.max(largest, Math.abs(value));
  }
  const error = worst / largest;
  if (!(error < bound)) failed.push(label);
  console.log(`${label.padEnd(70)} ${error.toExponential(1)}${error < bound ? '' : ' WRONG'}`);
  tensor.dispose();
}

const product = (a, b, m, k, n, batch, ta, tb) => {
  const out = new Float64Array(batch * m * n);
  for (let z = 0; z < batch; z++)
    for (let i = 0; i < m; i++)
      for (let j = 0; j < n; j++) {
        let sum = 0;
        for (let q = 0; q < k; q++) sum += a[z * m * k + (ta ? q * m + i : i * k + q)] * b[z * k * n + (tb ? j * k + q : q * n + j)];
        out[(z * m + i) * n + j] = sum;
      }
  return out;
};

for (const [m, k, n, batch] of [
  [136, 200, 144, 1],
  [40, 77, 24, 3],
  [33, 2048, 16, 1],
  [128, 64, 128, 1],
])
  for (const [ta, tb] of [
    [false, false],
    [false, true],
    [true, false],
    [true, true],
  ]) {
    if (cases++ >= most) continue;
    const outer = batch > 1 ? [batch] : [];
    const a = await draw([...outer, ...(ta ? [k, m] : [m, k])]);
    const b = await draw([...outer, ...(tb ? [n, k] : [k, n])]);
    const expected = product(a.values, b.values, m, k, n, batch, ta, tb);
    const name = `product ${m} x ${k} x ${n}, batch ${batch}${ta ? ', a transposed' : ''}${tb ? ', b transposed' : ''}`;
    await compare(name, tracked(matMul(device, a.tensor, b.tensor, ta, tb)), expected, 1e-3);
    if (batch > 1) continue;
    const [bias, rest] = [await draw([n], false), await draw([m, n])];
    const [low, up] = [await draw([m, 4], false), await draw(tb ? [n, 4] : [4, n], false)];
    const thin = product(low.values, up.values, m, 4, n, 1, false, tb);
    const sum = expected.map((x, i) => 0.5 * (x + thin[i]) + bias.values[i % n] + rest.values[i]);
    const added = { scale: 0.5, bias: bias.tensor, rest: rest.tensor, more: { a: low.tensor, b: up.tensor, transposeB: tb } };
    await compare(`${name}, and what is added`, tracked(matMul(device, a.tensor, b.tensor, ta, tb, added)), sum, 1e-3);
  }

for (const [[n, h, w, c], out, kernel, stride] of [
  [[2, 12, 10, 32], 64, 3, 1],
  [[2, 13, 10, 64], 40, 3, 2],
  [[1, 9, 9, 8], 16, 3, 1],
  [[2, 3, 64, 16], 24, 3, 1],
]) {
  if (cases++ >= most) continue;
  const [x, filter] = [await draw([n, h, w, c]), await draw([kernel, kernel, c, out])];
  const info = convInfo(x.shape, filter.shape, { strides: stride, pad: 'same' });
  const dy = await draw(info.outShape);
  const results = [new Float64Array(sizeOf(info.outShape)), new Float64Array(sizeOf(x.shape)), new Float64Array(sizeOf(filter.shape))];
  const { outHeight, outWidth, padInfo } = info;
  for (let z = 0; z < n; z++)
    for (let oy = 0; oy < outHeight; oy++)
      for (let ox = 0; ox < outWidth; ox++)
        for (let ky = 0; ky < kernel; ky++)
          for (let kx = 0; kx < kernel; kx++) {
            const [iy, ix] = [oy * stride + ky - padInfo.top, ox * stride + kx - padInfo.left];
            if (iy < 0 || iy >= h || ix < 0 || ix >= w) continue;
            const [from, to] = [((z * h + iy) * w + ix) * c, ((z * outHeight + oy) * outWidth + ox) * out];
            for (let i = 0; i < c; i++)
              for (let o = 0; o < out; o++) {
                const at = ((ky * kernel + kx) * c + i) * out + o;
                results[0][to + o] += x.values[from + i] * filter.values[at];
                results[1][from + i] += dy.values[to + o] * filter.values[at];
                results[2][at] += x.values[from + i] * dy.values[to + o];
              }
          }
  const name = `convolution ${kernel} x ${kernel} by ${stride} of [${x.shape}] to ${out}`;
  await compare(name, tracked(conv2d(device, x.tensor, filter.tensor, info)), results[0], 1e-3);
  await compare(`${name}: gradient to x`, tracked(conv2dInputGradient(device, dy.tensor, filter.tensor, info)), results[1], 1e-3);
  await compare(`${name}: to the filter`, tracked(conv2dFilterGradient(device, x.tensor, dy.tensor, info)), results[2], 1e-3);
}
if (failed.length > 0) console.log(`${failed.length} are wrong`);
process.exit(failed.length > 0 ? 1 : 0);
