import {
  type Batch,
  COLLECTIVE,
  type Context,
  EVALUATION,
  type Filling,
  fail,
  type Host,
  type Metrics,
  type Model,
  microBatchesOf,
  OBJECTIVE,
  Problems,
  type Source,
} from '../../core/index.js';
import * as tf from '../../core/tf.js';
import { lostCaptions } from '../models/clip/lost-text.js';
import { type Outputs, outputsOf } from '../models/layers/outputs.js';
import { isTextToImage } from '../models/stable-diffusion/text-to-image.js';
import type { Comparison } from '../objectives/losses/losses.js';
import { predict } from '../objectives/losses/predict.js';

export interface Measure {
  of(context: Context, model: Model, batch: Batch): tf.Scalar;
  shown?(mean: number): number;
}

export interface EvaluationOptions {
  /** Every so many steps; at each epoch's end by default. */
  readonly every?: number;
  /** Compared with the targets, by the name they are reported under. */
  readonly metrics?: Readonly<Record<string, Comparison>>;
  /** What else is measured of a batch, by the name it is reported under: a mean over its examples. `shown` makes a figure of the mean over all. */
  readonly measures?: Readonly<Record<string, Measure>>;
  /** Told on rank 0 how many examples are done. */
  readonly onProgress?: (done: number, of: number, what: string) => void;
  /** Only so many batches of each process; all by default. */
  readonly batches?: number;
  /** As the objective has it; by default what the model says of itself. */
  readonly outputs?: Outputs;
}

/**
 * The loss and metrics on data that is not trained on, with the weights that onWeights gives for evaluation. They are reported
 * as `loss.held` and by the metrics' names, each example weighing the same.
 */
export const evaluation = (
  data: Filling<'DATA'>,
  { every, metrics = {}, measures = {}, outputs, batches, onProgress }: EvaluationOptions = {},
) => {
  let source: Source | null = null;
  let measure: (() => Promise<Metrics>) | null = null;
  return {
    name: 'evaluation',
    fills: EVALUATION,
    evaluate: () => measure?.() ?? fail('TOO_EARLY', 'evaluation', 'it is not set up yet', 'Ask later.'),
    metrics: ['loss.held', ...Object.keys(metrics), ...Object.keys(measures)],
    async apply(host: Host): Promise<void> {
      const { hooks, resolve } = host;
      await host.adopt(data);
      hooks.prepareData.tapPromise(async (given, problems) => {
        const found = new Problems();
        source = await data.open(found);
        for (const { code, what, fix } of found.list) problems.add(code, 'evaluation', what, fix);
        return given;
      });
      hooks.prepareModel.tap((model) => {
        if (source && host.isFirstRank() && isTextToImage(model))
          for (const what of lostCaptions(model.tokenizer, source, 'held-out captions')) host.warn(what);
        return model;
      });
      hooks.validate.tap((problems) => {
        const check = problems.options('evaluation');
        if (every !== undefined) check.whole('every', every, 1, 'or leave it out for each epoch');
        if (batches !== undefined) check.whole('batches', batches, 1, 'or leave it out for all');
      });
      hooks.onRequest.tap((requests, { step, endsEpoch, last }) =>
        (every === undefined ? endsEpoch : (step + 1) % every === 0 || last) ? { ...requests, evaluate: 1 } : requests,
      );
      measure = async () => {
        const held = source ?? fail('TOO_EARLY', 'evaluation', 'there is no data yet', 'Ask later.');
        const microBatches = microBatchesOf(held, 0);
        const weights = host.weights('evaluate');
        const sums: Record<string, number> = {};
        const { rank, worldSize, sum: over } = resolve(COLLECTIVE);
        const count = Math.min(microBatches.count, (batches ?? Number.POSITIVE_INFINITY) * worldSize);
        let seen = 0;
        // Each rank takes its batches in turn; the sums are added up, so that all know the same metrics.
        for (let at = rank; at < count && !host.stopAsked(); at += worldSize) {
          // Lets timers and signals in.
          await new Promise((goOn) => setTimeout(goOn, 0));
          const batch: Batch = await held.load(microBatches.at(at), { epoch: 0, upcoming: microBatches.at(at + worldSize) });
          const values = tf.tidy(() => {
            const context = host.evaluation(weights);
            const found: Record<string, tf.Scalar> = { 'loss.held': resolve(OBJECTIVE).loss(context, host.model(), batch) };
            if (Object.keys(metrics).length > 0) {
              const { predicted, target } = predict(context, host.model(), batch);
              for (const [name, metric] of Object.entries(metrics))
                found[name] = metric(predicted, target, outputs ?? outputsOf(host.model())).mean() as tf.Scalar;
            }
            for (const [name, { of }] of Object.entries(measures)) found[name] = of(context, host.model(), batch);
            return found;
          });
          for (const [name, value] of Object.entries(values)) {
            sums[name] = (sums[name] ?? 0) + (await value.data())[0] * batch.items;
            value.dispose();
          }
          seen += batch.items;
          tf.dispose(batch.tensors);
          if (rank === 0) onProgress?.(Math.min(count, at + worldSize), count, 'batches held out');
        }
        // One rank may have heard of a stop before another: all ask, so that all break off.
        if ((await over(host.stopAsked() ? 1 : 0)) > 0) host.breakOffEvaluation();
        const means: Record<string, number> = {};
        const items = await over(seen);
        for (const name of ['loss.held', ...Object.keys(metrics), ...Object.keys(measures)])
          means[name] = (await over(sums[name] ?? 0)) / items;
        for (const [name, { shown }] of Object.entries(measures)) if (shown) means[name] = shown(means[name]);
        return means;
      };
      hooks.onEvaluate.tapPromise(async (before) => ({ ...before, ...(await measure?.()) }));
    },
    dispose: async () => source?.dispose?.(),
  };
};
