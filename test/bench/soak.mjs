// 10,000 steps of a small job with checkpoints, evaluation and every log on: tensors, memory and open files on the way, and what is
// left at the end.
//   npm run build && node --expose-gc test/bench/soak.mjs [steps]
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { compose, run, Trainer } from '../../dist/core/index.js';
import * as tf from '../../dist/core/tf.js';
import {
  accumulation,
  adamw,
  arrays,
  checkpoint,
  clipping,
  cosine,
  csv,
  device,
  earlyStopping,
  ema,
  evaluation,
  functionModel,
  jsonl,
  nonFiniteGuard,
  supervisedObjective,
  tensorboard,
  ui,
  warmup,
} from '../../dist/plugins/index.js';

const steps = Number(process.argv[2] ?? 10_000);
const out = mkdtempSync(join(tmpdir(), 'steploom-soak-'));
const data = (n, shift) => {
  const x = Float32Array.from({ length: 8 * n }, (_, i) => Math.sin(0.7 * i + shift));
  return {
    x: { dtype: 'float32', shape: [n, 8], data: x },
    y: { dtype: 'int32', shape: [n], data: Int32Array.from({ length: n }, (_, i) => i % 3) },
  };
};
const w = tf.tidy(() => tf.variable(tf.randomNormal([8, 32], 0, 0.1, 'float32', 1)));
const v = tf.tidy(() => tf.variable(tf.randomNormal([32, 3], 0, 0.1, 'float32', 2)));
const mib = (bytes) => (bytes / 2 ** 20).toFixed(1).padStart(8);
const look = (step) => {
  globalThis.gc?.();
  const { rss, heapUsed } = process.memoryUsage();
  const files = readdirSync('/proc/self/fd').length;
  console.log(
    `${String(step).padStart(7)}${String(tf.memory().numTensors).padStart(10)}${mib(heapUsed)}${mib(rss)}${String(files).padStart(8)}`,
  );
};
const probe = {
  name: 'probe',
  apply: ({ hooks }) =>
    hooks.afterStep.tap('probe', (step) => {
      if ((step + 1) % (steps / 10) === 0) look(step + 1);
      return undefined;
    }),
};
console.log('   step   tensors    heap resident   files   (MiB)');
const before = tf.memory().numTensors;
const { step } = await new Trainer(
  compose(
    run({ learningRate: 1e-3, steps, warmupSteps: Math.min(100, steps) }),
    device('wasm'),
    functionModel({ w, v }, (weights, { x }) => x.matMul(weights.w).relu().matMul(weights.v)),
    arrays(data(64, 0), { batchSize: 8 }),
    supervisedObjective({ loss: 'cross-entropy' }),
    adamw(),
    cosine(),
    warmup(),
    accumulation(2),
    clipping(1),
    nonFiniteGuard(),
    ema({ decay: 0.99 }),
    evaluation(arrays(data(24, 5), { batchSize: 8, shuffle: false }), { every: 50 }),
    earlyStopping({ patience: 1e9 }),
    jsonl(out, { every: 1 }),
    csv(out, { every: 1 }),
    tensorboard(join(out, 'tensorboard'), { every: 1 }),
    ui({ every: 1, say: () => undefined }),
    checkpoint({ into: out, every: 25, totalLimit: 3, best: { metric: 'loss.held' } }),
    probe,
  ),
).train();
console.log(
  `${step} steps; ${tf.memory().numTensors - before} tensors more than before, ${readFileSync(join(out, 'log.csv'), 'utf8').split('\n').length - 2} lines of the table`,
);
console.log(
  `left of ${Math.floor(steps / 25)} checkpoints: ${readdirSync(out)
    .filter((name) => name.startsWith('checkpoint-'))
    .join(' ')}`,
);
rmSync(out, { recursive: true });
process.exit();
