import { join } from 'node:path';
import { COLLECTIVE, type Filling, fail, type Host, PICTURES, RANDOM, type TensorData } from '../../core/index.js';
import { lostText } from '../models/clip/lost-text.js';
import { isTextToImage } from '../models/stable-diffusion/text-to-image.js';
import { writeGrid } from '../persist/formats/pictures.js';
import { columnsOf, picturesOf, sampleImages } from '../samplers/walk/sample-images.js';
import { checkSampling, checkSize, type SampleOptions } from '../samplers/walk/sample-options.js';
import { SAMPLER } from '../samplers/walk/sampler.js';

export interface SamplesOptions extends Omit<SampleOptions, 'sampler'> {
  /** In place of the run's SAMPLER. */
  readonly sampler?: Filling<'SAMPLER'>;
  /** Also every so many steps, into grid-<step>.png. */
  readonly every?: number;
  /** And at the end of every so many epochs. */
  readonly everyEpochs?: number;
  /** Told how many steps of a grid are made. */
  readonly onProgress?: (done: number, of: number, what: string) => void;
}

/** Draws the prompts before and after training into grid-before.png and grid-after.png, from the same noise. Needs Node. */
export const samples = (
  prompts: readonly string[],
  outputDir: string,
  { every, everyEpochs, onProgress, sampler: given, ...sampling }: SamplesOptions,
) => {
  let lent: Host | null = null;
  /** Draws with the weights that onWeights gives for it; null where a stop kept it from that. */
  const pictures = async (host: Host, wanted: readonly string[], stop: () => boolean, name?: string) => {
    const model = host.model();
    if (!isTextToImage(model)) return fail('MODEL_UNFIT', 'samples', 'the model is no text-to-image model', 'Use textToImageModel().');
    const tell = onProgress && name ? { onStep: (done: number, of: number) => onProgress(done, of, `${name}.png: steps`) } : {};
    const options = { ...sampling, ...tell, sampler: given ?? host.resolve(SAMPLER), stop };
    const drawn = await sampleImages(model, host.weights('sample'), host.resolve(RANDOM), wanted, options);
    await model.leaveDevice?.();
    return drawn;
  };
  return {
    name: 'samples',
    fills: PICTURES,
    metrics: [],
    // The last pictures are of the weights that the run ends with.
    after: ['early-stopping'],
    async draw(wanted = prompts): Promise<TensorData> {
      const drawn = lent && (await pictures(lent, wanted, () => false));
      if (!drawn) return fail('TOO_EARLY', 'samples', 'it is not set up yet', 'Ask later.');
      return { dtype: 'float32', shape: drawn.shape, data: drawn.data.map((x) => (x + 1) / 2) };
    },
    async apply(host: Host): Promise<void> {
      lent = host;
      const { hooks } = host;
      if (given) await host.adopt(given);
      hooks.validate.tap((problems) => {
        const check = problems.options('samples');
        checkSampling(check, prompts.length, sampling);
        if (every !== undefined) check.whole('every', every, 1, 'or leave it out');
        if (everyEpochs !== undefined) check.whole('everyEpochs', everyEpochs, 1, 'or leave it out');
        if (!given && !host.has(SAMPLER))
          problems.add('ROLE_MISSING', 'samples', 'no plugin fills the role SAMPLER', 'Add ddim(), or give samples() a sampler.');
      });
      hooks.prepareModel.tap((model, problems) => {
        if (!isTextToImage(model)) return model;
        checkSize(problems.options('samples'), model, sampling);
        if (!host.isFirstRank()) return model;
        const away = [sampling.negativePrompt ?? []].flat();
        for (const what of [...lostText(model.tokenizer, prompts, 'prompts'), ...lostText(model.tokenizer, away, 'negative prompts')])
          host.warn(what);
        return model;
      });
      /** Whether the picture is there, or another rank's affair; a stop keeps it from being drawn. */
      const draw = async (name: string): Promise<boolean> => {
        if (!host.isFirstRank()) return true;
        const drawn = await pictures(host, prompts, host.stopAsked, name);
        if (!drawn) {
          host.warn(`${name}.png is not drawn: a stop was asked for`);
          return false;
        }
        if (!drawn.finite) host.warn(`${name}.png shows numbers that are not finite`);
        const [, height, width] = drawn.shape;
        const columns = columnsOf(prompts.length, sampling.imagesPerPrompt);
        const path = join(outputDir, `${name}.png`);
        await writeGrid(path, picturesOf(drawn), { height, width }, columns);
        host.wrote(path);
        return true;
      };
      // A run that goes on has its first pictures already.
      hooks.onStart.tapPromise(async () => {
        if (host.startStep() === 0) await draw('grid-before');
      });
      hooks.onEnd.tapPromise(async () => {
        await draw('grid-after');
      });
      if (every === undefined && everyEpochs === undefined) return;
      /** The step after which pictures are due. */
      let due = -1;
      hooks.onRequest.tap((requests, { step, epoch, endsEpoch }) => {
        const isDue = (every && (step + 1) % every === 0) || (everyEpochs && endsEpoch && (epoch + 1) % everyEpochs === 0);
        if (!isDue) return requests;
        due = step;
        return { ...requests, evaluate: 1 };
      });
      hooks.onEvaluate.tapPromise(async (metrics, step) => {
        if (step !== due) return metrics;
        const isMissing = !(await draw(`grid-${step + 1}`));
        if ((await host.resolve(COLLECTIVE).sum(isMissing ? 1 : 0)) > 0) host.breakOffEvaluation();
        return metrics;
      });
    },
  };
};
