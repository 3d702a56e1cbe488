// One rank of a small run, for the tests of distributed training: started alone or by mpirun, with its settings as JSON in the
// first argument. Writes what came of it to <out>/rank-<rank>.json.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { COLLECTIVE, compose, MODEL, OBJECTIVE, run, Trainer } from '../../dist/core/index.js';
import { distributed } from '../../dist/plugins/distributed/distributed.js';
import { mpi } from '../../dist/plugins/distributed/mpi.js';
import {
  accumulation,
  adamw,
  adamw8bit,
  arrays,
  checkpoint,
  clipping,
  cosine,
  device,
  evaluation,
  jsonl,
  nonFiniteGuard,
  warmup,
} from '../../dist/plugins/index.js';
import { stoppable } from '../../dist/presets/cli/signals.js';
import { emoji, supervised } from '../../dist/presets/index.js';

const o = {
  job: 'small',
  items: 37,
  batchSize: 4,
  steps: 100,
  window: 1,
  hidden: 256,
  optimizer: 'adamw',
  device: 'wasm',
  /** 0 for the device's own choice. */
  threads: 1,
  every: 0,
  atEnd: false,
  learningRate: 5e-3,
  timeout: 60,
  ...JSON.parse(process.argv[2]),
};

/** A network of two layers with a dropout that draws by itself where asked for. */
const model = {
  name: 'two-layers',
  fills: MODEL,
  async build(random) {
    const make = (name, shape) =>
      tf.tidy(() =>
        tf.variable(tf.tensor(random.named(`init:${name}`).uniforms(new Float32Array(shape[0] * (shape[1] ?? 1)), -0.3, 0.3), shape)),
      );
    const parameter = (name, shape) => [name, { variable: make(name, shape), trainable: true, group: 'main' }];
    return {
      parameters: new Map([parameter('first', [16, o.hidden]), parameter('bias', [o.hidden]), parameter('second', [o.hidden, 16])]),
      modules: new Map(),
      wraps: new Map(),
      forward: ({ parameters: p }, { x }) => x.matMul(p.first).add(p.bias).tanh().matMul(p.second),
    };
  },
};
const objective = {
  name: 'squared-error',
  fills: OBJECTIVE,
  loss: (context, m, { ids, tensors: { x, y } }) => {
    // Noise by item: ranks must draw what one process would.
    const noise = new Float32Array(ids.length * 16);
    for (const [i, id] of ids.entries()) context.draw('noise', id).uniforms(noise.subarray(16 * i, 16 * i + 16), -0.1, 0.1);
    return tf.squaredDifference(m.forward(context, { x: x.add(tf.tensor2d(noise, [ids.length, 16])) }), y).mean();
  },
};
const data = (n, shift = 0) => {
  const x = Float32Array.from({ length: 16 * n }, (_, i) => Math.sin(0.7 * i + shift));
  const y = x.map((v, i) => Math.cos(0.3 * i) * v);
  return { x: { dtype: 'float32', shape: [n, 16], data: x }, y: { dtype: 'float32', shape: [n, 16], data: y } };
};

/** Examples that are not trained on; a test may want a stop when one rank has loaded so many batches of them. */
function held() {
  const all = arrays(data(11, 5), { batchSize: o.batchSize, shuffle: false });
  let loaded = 0;
  const open = async (problems) => {
    const source = await all.open(problems);
    const asked = o.stopInEvaluation;
    const load = (...given) => {
      if (asked && rank === asked.rank && ++loaded === asked.loaded) trainer.request('stop');
      return source.load(...given);
    };
    return { ...source, load };
  };
  return { ...all, open };
}

let rank = 0;
const losses = [];
const rates = [];
const weights = {};
let metrics = {};
/** Notes what happens, and does what the test wants to go wrong. */
const probe = {
  name: 'probe',
  after: [COLLECTIVE],
  apply(host) {
    rank = host.resolve(COLLECTIVE).rank;
    const { fault } = o;
    const here = fault && fault.rank === rank;
    host.hooks.shouldLog.tap('probe', () => true);
    host.hooks.onRecord.tap('probe', (record) => {
      if (record.loss !== undefined) losses.push(record.loss);
      if (record.learningRate !== undefined) rates.push(record.learningRate);
      return undefined;
    });
    host.hooks.afterBackward.tap('probe', (sum, { step, index }) => {
      if (here && step === fault.step && fault.kind === 'break') throw new Error('the fault of this test');
      const asked = o.stopInside;
      if (asked && rank === asked.rank && step === asked.step && index === asked.index) host.request('stop');
      if (!o.tripled) return sum;
      const gradients = {};
      for (const [path, gradient] of Object.entries(sum.gradients)) {
        gradients[path] = gradient.mul(3);
        gradient.dispose();
      }
      return { ...sum, gradients };
    });
    host.hooks.onRequest.tap('probe', (requests, { step }) =>
      o.stopAt && rank === o.stopAt.rank && step + 1 === o.stopAt.step ? { ...requests, stop: 1 } : requests,
    );
    host.hooks.onEvaluate.tap('probe', (given) => (metrics = given));
    host.hooks.afterStep.tap('probe', (step) => {
      if (!here || step !== fault.step) return undefined;
      if (fault.kind === 'throw') throw new Error('the fault of this test');
      if (fault.kind === 'kill') process.kill(process.pid, 'SIGKILL');
      if (fault.kind === 'stop') process.kill(process.pid, 'SIGSTOP');
      if (fault.kind === 'exit') process.exit(0);
      if (fault.kind === 'hang') for (;;);
      if (fault.kind === 'differ')
        tf.tidy(() => host.model().parameters.get('bias').variable.assign(host.model().parameters.get('bias').variable.add(1e-3)));
      return undefined;
    });
    host.hooks.onEnd.tapPromise('probe', async () => {
      for (const [path, { variable, trainable }] of host.model().parameters)
        if (trainable) weights[path] = Array.from(await variable.data());
    });
  },
};

const isLaunched = process.env.OMPI_COMM_WORLD_RANK ?? process.env.PMI_RANK ?? process.env.PMIX_RANK;
const ownRank = Number(isLaunched ?? 0);
const differs = o.differ && o.differ.rank === ownRank ? o.differ : null;
if (differs?.missing) o.items = 0;
const small = () =>
  compose(
    mpi({ timeout: o.timeout }),
    distributed({
      ...o.distributed,
      checkEvery: o.checkEvery ?? 10,
      options: { accumulation: o.window },
      version: differs?.version ?? '1',
    }),
    run({
      learningRate: differs?.learningRate ?? o.learningRate,
      weightDecay: 0.01,
      seed: differs?.seed ?? 3,
      warmupSteps: 5,
      ...(o.epochs ? { epochs: o.epochs } : { steps: o.steps }),
    }),
    device(o.device, o.threads > 0 ? { threads: o.threads } : {}),
    model,
    arrays(data(o.items, differs?.shift ?? 0), { batchSize: o.batchSize }),
    objective,
    o.optimizer === 'adamw8bit' ? adamw8bit() : adamw(),
    cosine(),
    warmup(),
    accumulation(o.window),
    clipping(0.5),
    nonFiniteGuard(),
    ...(o.evaluate ? [evaluation(held(), { every: o.evaluate })] : []),
    ...(o.log ? [jsonl(join(o.out, `log-${ownRank}.jsonl`), { every: 1 })] : []),
    ...(o.every || o.resume
      ? [
          checkpoint({
            // A folder that all see, or one each.
            into: join(o.out, o.oneStore ? 'store-0' : `store-${ownRank}`),
            ...(o.every ? { every: o.every } : {}),
            atEnd: o.atEnd,
            totalLimit: 3,
            ...(o.resume ? { resume: o.resume } : {}),
          }),
        ]
      : []),
    probe,
  );
/** Supervised training of a LayersModel with batch normalization, whose running statistics change by themselves. */
const layers = async () => {
  const network = tf.sequential({
    layers: [
      tf.layers.dense({ inputShape: [16], units: 8, kernelInitializer: tf.initializers.glorotNormal({ seed: 1 }) }),
      tf.layers.batchNormalization({ momentum: 0.9 }),
      tf.layers.dense({ units: 16, kernelInitializer: tf.initializers.glorotNormal({ seed: 2 }) }),
    ],
  });
  return supervised({
    model: network,
    device: device('cpu'),
    data: data(o.items),
    loss: 'mse',
    steps: o.steps,
    batchSize: o.batchSize,
  }).with(mpi({ timeout: o.timeout }), distributed({ checkEvery: 5 }), {
    ...probe,
    apply(host) {
      probe.apply({
        ...host,
        hooks: new Proxy(host.hooks, { get: (hooks, name) => (name === 'onEnd' ? { tapPromise: () => undefined } : hooks[name]) }),
      });
      host.hooks.onEnd.tapPromise('probe', async () => {
        for (const [path, { variable }] of host.model().parameters) weights[path] = Array.from(await variable.data());
      });
    },
  });
};
const job =
  o.job === 'emoji'
    ? (
        await emoji({
          maxTrainSteps: o.steps,
          trainBatchSize: o.batchSize,
          device: 'wasm',
          threads: 1,
          outputDir: join(o.out, 'run'),
          quiet: true,
        })
      )
        .without('emoji-figures')
        .with(probe)
    : o.job === 'layers'
      ? await layers()
      : small();
mkdirSync(o.out, { recursive: true });
// For a test that kills it from outside.
writeFileSync(join(o.out, `pid-${ownRank}`), String(process.pid));
// Imported late: importing it makes it the backend that tf would start with.
const threads = async () => (await import('@tensorflow/tfjs-backend-wasm')).getThreadsCount();
// Runs are compared byte by byte: all have one name.
const trainer = new Trainer(job, { runId: 'compared', warn: () => undefined });
const { result } = await stoppable((signal) => trainer.train({ signal }), console.error);
writeFileSync(
  join(o.out, `rank-${rank}.json`),
  JSON.stringify({
    ...result,
    losses,
    rates,
    weights,
    metrics,
    tensors: tf.memory().numTensors,
    threads: tf.getBackend() === 'wasm' ? await threads() : 1,
  }),
);
process.exit(0);
