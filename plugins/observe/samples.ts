import { join } from 'node:path';
import { COLLECTIVE, type Filling, fail, type Host, RANDOM } from '../../core/index.js';
import { lostText } from '../models/clip/lost-text.js';
import { isTextToImage } from '../models/text-to-image-model.js';
import { writeGrid } from '../persist/formats/png.js';
import { type SampleOptions, sampleImages } from '../samplers/walk/sample-images.js';
import { SAMPLER } from '../samplers/walk/sampler.js';

export interface SamplesOptions extends Omit<SampleOptions, 'sampler'> {
  /** In place of the run's SAMPLER. */
  readonly sampler?: Filling<'SAMPLER'>;
  /** Also every so many steps, into grid-<step>.png. */
  readonly every?: number;
}

/** Draws the prompts before and after training into grid-before.png and grid-after.png, from the same noise. Needs Node. */
export const samples = (prompts: readonly string[], outputDir: string, { every, sampler: given, ...sampling }: SamplesOptions) => ({
  name: 'samples',
  metrics: [],
  async apply(host: Host): Promise<void> {
    const { hooks } = host;
    if (given) await host.adopt(given);
    hooks.validate.tap((problems) => {
      const check = problems.options('samples');
      check.whole('steps', sampling.steps, 1);
      if (every !== undefined) check.whole('every', every, 1, 'or leave it out');
      if (!given && !host.has(SAMPLER))
        problems.add('ROLE_MISSING', 'samples', 'no plugin fills the role SAMPLER', 'Add ddim(), or give samples() a sampler.');
    });
    hooks.prepareModel.tap((model) => {
      if (host.isFirstRank() && isTextToImage(model)) for (const what of lostText(model.tokenizer, prompts, 'prompts')) host.warn(what);
      return model;
    });
    /** Whether the picture is there, or another rank's affair; a stop keeps it from being drawn. */
    const draw = async (name: string): Promise<boolean> => {
      if (!host.isFirstRank()) return true;
      const model = host.model();
      if (!isTextToImage(model)) return fail('MODEL_UNFIT', 'samples', 'the model is no text-to-image model', 'Use textToImageModel().');
      const options = { ...sampling, sampler: given ?? host.resolve(SAMPLER), stop: host.stopAsked };
      const drawn = await sampleImages(model, host.weights('sample'), host.resolve(RANDOM), prompts, options);
      await model.leaveDevice?.();
      if (!drawn) {
        host.warn(`${name}.png is not drawn: a stop was asked for`);
        return false;
      }
      const { shape, data, finite } = drawn;
      if (!finite) host.warn(`${name}.png shows numbers that are not finite`);
      const size = shape[1] * shape[2] * 3;
      const images = prompts.map((_, i) => data.slice(i * size, (i + 1) * size).map((x) => (x + 1) / 2));
      await writeGrid(join(outputDir, `${name}.png`), images, { height: shape[1], width: shape[2] }, Math.min(8, prompts.length));
      return true;
    };
    // A run that goes on has its first pictures already.
    hooks.onStart.tapPromise(async () => {
      if (host.startStep() === 0) await draw('grid-before');
    });
    hooks.onEnd.tapPromise(async () => {
      await draw('grid-after');
    });
    if (every === undefined) return;
    hooks.onRequest.tap((requests, { step }) => ((step + 1) % every === 0 ? { ...requests, evaluate: 1 } : requests));
    hooks.onEvaluate.tapPromise(async (metrics, step) => {
      if ((step + 1) % every !== 0) return metrics;
      const isMissing = !(await draw(`grid-${step + 1}`));
      if ((await host.resolve(COLLECTIVE).sum(isMissing ? 1 : 0)) > 0) host.breakOffEvaluation();
      return metrics;
    });
  },
});
