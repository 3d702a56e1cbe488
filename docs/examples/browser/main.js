import { Trainer } from 'steploom';
import { device } from 'steploom/plugins';
import { supervised } from 'steploom/presets';
import * as tf from 'steploom/tf';

const COUNT = 512;

/** Points of a square, and whether each lies in a circle. */
function points() {
  const x = Float32Array.from({ length: 2 * COUNT }, (_, i) => 2 * ((i * 0.618034 + Math.floor(i / 2) * 0.754878) % 1) - 1);
  const y = Int32Array.from({ length: COUNT }, (_, i) => (x[2 * i] ** 2 + x[2 * i + 1] ** 2 < 0.5 ? 1 : 0));
  return { x: { dtype: 'float32', shape: [COUNT, 2], data: x }, y: { dtype: 'int32', shape: [COUNT], data: y } };
}

/** Trains a small network on them, and tells of each step. */
export async function train(name, tell) {
  const kernelInitializer = tf.initializers.glorotNormal({ seed: 1 });
  const model = tf.sequential({
    layers: [
      tf.layers.dense({ inputShape: [2], units: 24, activation: 'tanh', kernelInitializer }),
      tf.layers.dense({ units: 2, activation: 'softmax', kernelInitializer }),
    ],
  });
  const watch = {
    name: 'watch',
    apply({ hooks }) {
      hooks.shouldLog.tap(({ step }) => (step % 20 === 19 ? true : undefined));
      hooks.onRecord.tap(({ step, loss }) => {
        if (loss !== undefined) tell(`step ${step}: loss ${Number(loss).toFixed(3)}`);
      });
    },
  };
  const preset = supervised({
    model,
    device: device(name, { paths: new URL('./wasm/', document.baseURI).href }),
    data: points(),
    validation: points(),
    metrics: ['accuracy'],
    loss: 'cross-entropy',
    learningRate: 0.02,
    steps: 200,
    batchSize: 64,
    evaluateEvery: 200,
    quiet: true,
  });
  const { metrics, step } = await new Trainer(preset.with(watch)).train();
  return { step, accuracy: metrics.accuracy, device: tf.getBackend() };
}

const state = document.getElementById('state');
document.getElementById('train').addEventListener('click', async () => {
  try {
    const {
      step,
      accuracy,
      device: used,
    } = await train(document.getElementById('device').value, (text) => {
      state.textContent = text;
    });
    state.textContent = `done: ${step} steps on ${used}, ${(100 * accuracy).toFixed(1)} % right`;
  } catch (error) {
    state.textContent = String(error);
  }
});
