// LoRA on given latents, noise and timesteps, as the scripts beside this one train it in PyTorch. Run after npm run build.

import { compose, OBJECTIVE, run, Trainer } from '../../dist/core/index.js';
import * as tf from '../../dist/core/tf.js';
import { adamw, arrays, constant, lora, saveLora } from '../../dist/plugins/index.js';
import { fromFile, shapeOfFile } from '../../dist/plugins/persist/formats/pytorch-layout.js';

/** [n, c, h, w] as a tensor [n, h, w, c]. */
export const channelsLast = ({ shape, data }) => tf.tidy(() => tf.tensor(data, [...shape]).transpose([0, 2, 3, 1]));

/** The `at`-th of what is stacked along the first axis. */
export function part({ shape, data, ...more }, at) {
  const size = shape.slice(1).reduce((a, b) => a * b, 1);
  return { ...more, shape: shape.slice(1), data: data.slice(at * size, (at + 1) * size) };
}

/** x_t and what the model should say of it: latents and noise [n, c, h, w] as files have them, n timesteps. */
function noised({ config, alphasCumprod }, latents, noise, timesteps) {
  const column = (of) =>
    tf.tensor(
      timesteps.map((t) => of(alphasCumprod[t])),
      [timesteps.length, 1, 1, 1],
    );
  const [signal, spread] = [column(Math.sqrt), column((abar) => Math.sqrt(1 - abar))];
  const [x, e] = [channelsLast(latents), channelsLast(noise)];
  const target = config.prediction_type === 'epsilon' ? e : e.mul(signal).sub(x.mul(spread));
  return { noisy: x.mul(signal).add(e.mul(spread)), target };
}

/** The prediction at a step of what is given ({ latents, noises, timesteps, prompts }), and its mean squared error. */
export function predictedAt(context, model, { latents, noises, timesteps, prompts }, step) {
  const t = [...part(timesteps, step).data];
  const { noisy, target } = noised(model.noise, latents, part(noises, step), t);
  const predicted = model.predict(context, noisy, t, model.encode(context, prompts));
  return { predicted, loss: predicted.sub(target).square().mean() };
}

/**
 * Trains an adapter on what is given with AdamW, and writes it into the folder `saveTo`. `model` is a plugin; `start` has the adapter's matrices at
 * first, in PyTorch's layout by the model's paths.
 */
export function trainGiven({ device, model, given, adapter, start, steps, learningRate, saveTo, onLoss = () => {}, onEnd = () => {} }) {
  const rows = steps * given.prompts.length;
  const column = { dtype: 'float32', shape: [rows, 1], data: new Float32Array(rows) };
  const added = lora(adapter);
  const plugins = [
    run({ steps, learningRate, weightDecay: 1e-2, seed: 0 }),
    device,
    model,
    added,
    ...(start ? [{ name: 'start', apply: ({ hooks }) => hooks.prepareModel.tap((built) => begin(built, start)) }] : []),
    arrays({ column }, { batchSize: given.prompts.length, shuffle: false }),
    {
      name: 'given',
      fills: OBJECTIVE,
      loss: (context, built, batch) => predictedAt(context, built, given, batch.ids[0] / given.prompts.length).loss,
    },
    adamw(),
    constant(),
    saveLora(saveTo, added),
    {
      name: 'losses',
      apply(host) {
        host.hooks.shouldLog.tap(() => true);
        host.hooks.onRecord.tapPromise(async ({ loss }) => onLoss(loss));
        host.hooks.onEnd.tapPromise(async () => onEnd(host.model()));
      },
    },
  ];
  return new Trainer(compose(...plugins)).train();
}

/** Gives a model's adapters the values that a file has for them: all of them, or it is an error. */
function begin(model, start) {
  const trained = [...model.parameters].filter(([, { trainable }]) => trainable).map(([path]) => path);
  if (String(trained.sort()) !== String([...start.keys()].sort())) throw new Error(`the start has other matrices than ${trained}`);
  for (const [path, { shape, data }] of start) {
    const laid = { layout: shape.length === 4 ? 'conv' : 'linear' };
    laid.shape = shapeOfFile({ ...laid, shape });
    const value = tf.tensor(fromFile(data, laid), laid.shape);
    model.parameters.get(path).variable.assign(value);
    value.dispose();
  }
  return model;
}
