// The loop's overhead: a step with 8 parameters on the cpu backend with AdamW, clipping, warm-up and cosine, against a
// hand-written loop that does the same tensor operations with the same optimizer, and with the computation stubbed.
//   npm run bench:loop -- [steps] [steps before]

import { backward, compose, DATA, MODEL, OBJECTIVE, run, Trainer } from '../../dist/core/index.js';
import * as tf from '../../dist/core/tf.js';
import { adamw, clipping, cosine, cpu, warmup } from '../../dist/plugins/index.js';

const order = Array.from({ length: 4000 }, (_, i) => i);
const STEPS = Number(process.argv[2] ?? 2000);
const WARM = Number(process.argv[3] ?? 3000);
await tf.setBackend('cpu');
const names = Array.from({ length: 8 }, (_, i) => `p${i}`);
const makeModel = () => ({
  parameters: new Map(names.map((name, i) => [name, { variable: tf.variable(tf.fill([4], 0.1 * i)), trainable: true, group: 'g' }])),
  modules: new Map(),
  wraps: new Map(),
  forward: (context) => tf.addN(names.map((name) => context.parameters[name].square())),
});
const lossOf = (y, x) => y.mul(x).mean();
const rate = (s, W, T) => (s < W ? s / W : 0.5 * (1 + Math.cos((Math.PI * (s - W)) / (T - W)))) * 1e-3;

/** A loop written by hand: each call of the result makes one step. */
function byHand() {
  const model = makeModel();
  const optimizer = adamw();
  optimizer.start(model.parameters);
  const variables = Object.fromEntries([...model.parameters].map(([k, p]) => [k, p.variable]));
  let s = 0;
  let norm = null;
  return async () => {
    const x = tf.tensor1d([1, 2, 3, 4]);
    const { loss, gradients } = backward(
      () => lossOf(model.forward({ parameters: variables }), x),
      variables,
      () => 4,
    );
    const sum = loss.mul(4);
    loss.dispose();
    norm?.dispose();
    norm = tf.tidy(() =>
      tf
        .tidy(() => tf.addN(Object.values(gradients).map((g) => g.square().sum())))
        .sqrt()
        .mul(1 / 4),
    );
    const scale = tf.tidy(() => tf.minimum(1, tf.div(1, norm.add(1e-6))).mul(1 / 4));
    optimizer.update({ gradients, scale, finite: 1 }, { g: { learningRate: rate(s, 100, 1e6), weightDecay: 0.01 } }, s);
    for (const g of Object.values(gradients)) g.dispose();
    tf.dispose([x, sum, scale]);
    s++;
  };
}

/** A Trainer that makes one step at a time: a gate in its data holds it between steps. */
function byTrainer(more = [], stub = false) {
  let open;
  let done;
  const arrive = () => new Promise((resolve) => (open = resolve));
  let gate = arrive();
  const plugins = compose(
    run({ learningRate: 1e-3, steps: 10_000_000, warmupSteps: 100 }),
    cpu(),
    { name: 'model', fills: MODEL, build: async () => makeModel() },
    {
      name: 'data',
      fills: DATA,
      open: async () => ({
        items: 4000,
        batchSize: 4,
        ids: () => order,
        load: async (ids, { epoch }) => {
          done?.();
          if (!stub) await gate;
          return { items: 4, ids, epoch, tensors: stub ? {} : { x: tf.tensor1d([1, 2, 3, 4]) } };
        },
      }),
    },
    { name: 'objective', fills: OBJECTIVE, loss: (context, model, batch) => lossOf(model.forward(context), batch.tensors.x) },
    adamw(),
    cosine(),
    warmup(),
    clipping(1),
    ...more,
  );
  const trainer = new Trainer(plugins);
  const finished = trainer.train();
  const ready = new Promise((resolve) => (done = resolve));
  return {
    ready,
    finished,
    trainer,
    step: () => {
      const next = new Promise((resolve) => (done = resolve));
      const go = open;
      gate = arrive();
      go();
      return next;
    },
  };
}

const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];
const time = async (step, into) => {
  const start = performance.now();
  await step();
  into.push((performance.now() - start) * 1000);
};

const ours = byTrainer();
await ours.ready;
const [one, two] = [byHand(), byHand()];
for (let i = 0; i < WARM; i++) for (const step of [ours.step, one, two]) await step();
const times = { ours: [], one: [], two: [] };
// Step by step, in alternating order.
for (let i = 0; i < STEPS; i++) {
  const round = [
    [ours.step, times.ours],
    [one, times.one],
    [two, times.two],
  ];
  for (const [step, into] of i % 2 ? round : round.reverse()) await time(step, into);
}
const [o, a, b] = [times.ours, times.one, times.two].map(median);
console.log(
  `a step, median of ${STEPS} interleaved: by hand ${a.toFixed(1)} us, the same again ${b.toFixed(1)} us, steploom ${o.toFixed(1)} us`,
);
console.log(`more than by hand: ${(o - Math.min(a, b)).toFixed(1)} us (null comparison: ${Math.abs(a - b).toFixed(1)} us; bound 25)`);

// The loop alone: 12 plugins that tap what such plugins tap, no computation.
const empty = tf.scalar(0);
const stubbed = Array.from({ length: 12 }, (_, i) => ({
  name: `plugin-${i}`,
  apply({ hooks }) {
    const name = `plugin-${i}`;
    hooks.onSchedule.tap(name, (r) => r);
    hooks.beforeStep.tap(name, (u) => u);
    hooks.afterStep.tap(name, () => undefined);
    hooks.onRequest.tap(name, (r) => r);
  },
}));
const { loop } = await import('../../dist/core/loop.js');
const { makeHooks } = await import('../../dist/core/plugin/hooks.js');
const { guardHooks, hooksFor } = await import('../../dist/core/plugin/guard.js');
const { makePlan } = await import('../../dist/core/plan.js');
const hooks = makeHooks();
guardHooks(hooks, null);
for (const plugin of stubbed)
  plugin.apply({
    hooks: hooksFor(
      hooks,
      plugin.name,
      () => false,
      () => undefined,
    ),
  });
const sum = { gradients: {}, loss: empty, items: 4 };
const steps = 20_000;
const stub = {
  hooks,
  plan: makePlan({ steps, warmupSteps: 0, windowLength: 1, batchSize: 4, items: 400, worldSize: 1, microBatchesPerEpoch: 100 }),
  update: async () => undefined,
  startStep: 0,
  metrics: {},
  load: async () => null,
  gradients: () => sum,
  requests: () => ({ stop: 0, checkpoint: 0, evaluate: 0, abandon: 0 }),
  breaksOff: async () => false,
  rates: (step) => ({
    g: {
      learningRate: hooks.onSchedule.call(1, { step, group: 'g', warmupSteps: 0, totalSteps: steps, baseLearningRate: 1, metrics: {} }),
      weightDecay: 0,
    },
  }),
  log: async () => {},
  begin: async () => false,
  evaluate: async () => false,
  checkpoint: async () => {},
  release() {},
  breathe: async () => {},
};
await loop(stub);
const start = performance.now();
await loop(stub);
console.log(
  `the loop with 12 plugins, computation stubbed: ${(((performance.now() - start) * 1000) / steps).toFixed(2)} us a step (bound 10)`,
);

process.exit();
