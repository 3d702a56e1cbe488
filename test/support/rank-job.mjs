// The small jobs that rank.mjs trains.
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { COLLECTIVE, compose, MODEL, OBJECTIVE, OPTIMIZER, run } from '../../dist/core/index.js';
import * as tf from '../../dist/core/tf.js';
import { arrays } from '../../dist/plugins/data/arrays.js';
import { device } from '../../dist/plugins/devices/device.js';
import { distributed } from '../../dist/plugins/distributed/distributed.js';
import { mpi } from '../../dist/plugins/distributed/mpi.js';
import { accumulation } from '../../dist/plugins/gradients/accumulation.js';
import { clipping } from '../../dist/plugins/gradients/clipping.js';
import { nonFiniteGuard } from '../../dist/plugins/gradients/non-finite-guard.js';
import { evaluation } from '../../dist/plugins/observe/evaluation.js';
import { jsonl } from '../../dist/plugins/observe/jsonl.js';
import { adamw } from '../../dist/plugins/optimizers/adamw.js';
import { adamw8bit } from '../../dist/plugins/optimizers/adamw8bit.js';
import { checkpoint } from '../../dist/plugins/persist/checkpoint.js';
import { cosine } from '../../dist/plugins/schedules/cosine.js';
import { warmup } from '../../dist/plugins/schedules/warmup.js';
import { ema } from '../../dist/plugins/weights/ema.js';

const DEFAULTS = {
  job: 'small',
  items: 37,
  batchSize: 4,
  steps: 40,
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
};

const isLaunched = process.env.OMPI_COMM_WORLD_RANK ?? process.env.PMI_RANK ?? process.env.PMIX_RANK;
export const ownRank = Number(isLaunched ?? 0);

/** A network of two layers with a dropout that draws by itself where asked for. */
const twoLayers = (o) => ({
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
});
const squaredError = () => ({
  name: 'squared-error',
  fills: OBJECTIVE,
  loss: (context, m, { ids, tensors: { x, y } }) => {
    // Noise by item: ranks must draw what one process would.
    const noise = new Float32Array(ids.length * 16);
    for (const [i, id] of ids.entries()) context.draw('noise', id).uniforms(noise.subarray(16 * i, 16 * i + 16), -0.1, 0.1);
    return tf.squaredDifference(m.forward(context, { x: x.add(tf.tensor2d(noise, [ids.length, 16])) }), y).mean();
  },
});
const data = (n, shift = 0) => {
  const x = Float32Array.from({ length: 16 * n }, (_, i) => Math.sin(0.7 * i + shift));
  const y = x.map((v, i) => Math.cos(0.3 * i) * v);
  return { x: { dtype: 'float32', shape: [n, 16], data: x }, y: { dtype: 'float32', shape: [n, 16], data: y } };
};

/** Examples that are not trained on; a test may want a stop when one rank has loaded so many batches of them. */
function held(o, noted) {
  const all = arrays(data(11, 5), { batchSize: o.batchSize, shuffle: false });
  let loaded = 0;
  const open = async (problems) => {
    const source = await all.open(problems);
    const asked = o.stopInEvaluation;
    const load = (...given) => {
      if (asked && noted.rank === asked.rank && ++loaded === asked.loaded) noted.trainer.request('stop');
      return source.load(...given);
    };
    return { ...source, load };
  };
  return { ...all, open };
}

/** Notes what happens, and does what the test wants to go wrong. */
const probeOf = (o, noted) => ({
  name: 'probe',
  after: [COLLECTIVE],
  apply(host) {
    const { rank } = host.resolve(COLLECTIVE);
    noted.rank = rank;
    const { fault } = o;
    const here = fault && fault.rank === rank;
    host.hooks.shouldLog.tap('probe', () => true);
    host.hooks.onRecord.tap('probe', (record) => {
      if (record.loss !== undefined) noted.losses.push(record.loss);
      if (record.learningRate !== undefined) noted.rates.push(record.learningRate);
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
    host.hooks.onEvaluate.tap('probe', (given) => (noted.metrics = given));
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
      noted.stateBytes = host.resolve(OPTIMIZER).stateBytes();
      for (const [path, { variable, trainable }] of host.model().parameters)
        if (trainable) noted.weights[path] = Array.from(await variable.data());
      if (o.ema)
        for (const [path, average] of Object.entries(host.weights('export')))
          noted.weights[`average of ${path}`] = Array.from(await average.data());
    });
  },
});

const small = (o, noted, differs) =>
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
    twoLayers(o),
    arrays(data(o.items, differs?.shift ?? 0), { batchSize: o.batchSize }),
    squaredError(),
    o.optimizer === 'adamw8bit' ? adamw8bit() : adamw(),
    cosine(),
    warmup(),
    accumulation(o.window),
    clipping(0.5),
    ...(o.ema ? [ema({ decay: 0.8 })] : []),
    nonFiniteGuard(),
    ...(o.evaluate ? [evaluation(held(o, noted), { every: o.evaluate })] : []),
    ...(o.log ? [jsonl(join(o.out, `log-${ownRank}`), { every: 1 })] : []),
    ...(o.every || o.resume
      ? [
          checkpoint({
            // A folder that all see, or one each.
            into: join(o.out, o.oneStore ? 'store-0' : `store-${ownRank}`),
            ...(o.every ? { every: o.every } : {}),
            atEnd: o.atEnd,
            totalLimit: 3,
            ...(o.resume ? { resume: o.resume } : {}),
            ...(o.overrides ? { overrides: o.overrides } : {}),
          }),
        ]
      : []),
    probeOf(o, noted),
  );
/** Supervised training of a LayersModel with batch normalization, whose running statistics change by themselves. */
const layers = async (o, noted) => {
  const { supervised } = await import('../../dist/presets/supervised.js');
  const probe = probeOf(o, noted);
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
        for (const [path, { variable }] of host.model().parameters) noted.weights[path] = Array.from(await variable.data());
      });
    },
  });
};

/** A model of pictures of 16 pixels. */
const SMALL_MODEL = fileURLToPath(new URL('../fixtures/pipelines/sd15', import.meta.url));

/** The main job, on a small base. */
const mainJob = async (o, noted) => {
  const { emoji } = await import('../../dist/presets/emoji.js');
  // Where a gradient is little more than its rounding, Adam divides the one by the other: with a larger epsilon those hardly move.
  const settings = { maxTrainSteps: o.steps, trainBatchSize: o.batchSize, adamEpsilon: 1e-3, device: 'wasm', threads: 1 };
  const small = { pretrainedModelNameOrPath: SMALL_MODEL, limitItems: 24, lrWarmupSteps: 1 };
  return (await emoji({ ...settings, ...small, outputDir: join(o.out, 'run'), quiet: true }))
    .without('emoji-figures')
    .with(probeOf(o, noted));
};

/** Adapters for a few small pictures. */
const adapters = async (o, noted) => {
  const [{ loraInMemory }, { folder }] = await Promise.all(
    ['presets/lora-in-memory', 'plugins/persist/formats/folder'].map((name) => import(`../../dist/${name}.js`)),
  );
  const captions = ['red', 'blue', 'heart', 'star', 'cat', 'dog', 'sun', 'moon'];
  const images = { dtype: 'float32', shape: [8, 16, 16, 3], data: Float32Array.from({ length: 8 * 768 }, (_, i) => Math.sin(0.01 * i)) };
  const settings = { images, captions, steps: o.steps, batchSize: o.batchSize, warmupSteps: 1 };
  return loraInMemory({ ...settings, model: folder(SMALL_MODEL), device: device('wasm', { threads: 1 }) }).with(
    mpi({ timeout: o.timeout }),
    distributed(o.distributed),
    probeOf(o, noted),
  );
};

/** What settings ask for, and what is noted of its training. */
export async function jobOf(settings) {
  const o = { ...DEFAULTS, ...settings };
  const noted = { rank: 0, losses: [], rates: [], weights: {}, metrics: {}, stateBytes: 0, trainer: null };
  const differs = o.differ && o.differ.rank === ownRank ? o.differ : null;
  const jobs = { emoji: mainJob, layers, adapters, small };
  return { job: await jobs[o.job](o, noted, differs), noted };
}
