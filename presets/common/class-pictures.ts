import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { COLLECTIVE, fail, type Host, type Model, RANDOM, type Random, weightsOf } from '../../core/index.js';
import { type Prior, priorPictures } from '../../plugins/data/image-folder/prior.js';
import { isTextToImage } from '../../plugins/models/stable-diffusion/text-to-image.js';
import { writePicture } from '../../plugins/persist/formats/pictures.js';
import { picturesOf, sampleImages } from '../../plugins/samplers/walk/sample-images.js';
import { checkSampling, checkSize, type SampleOptions } from '../../plugins/samplers/walk/sample-options.js';

export interface ClassPicturesOptions extends Omit<SampleOptions, 'imagesPerPrompt' | 'onStep'> {
  /** Told on rank 0 how many of its pictures are drawn. */
  readonly onProgress?: (done: number, of: number, what: string) => void;
}

/**
 * Draws what is missing of `prior.count` pictures of a class before the first step, with the model as it is without adapters, into `prior.folder` (prior
 * preservation, Ruiz et al. 2022): imageFolder({ prior }) trains on them. It stands before lora() and before the data in a list of plugins. Noise belongs
 * to a picture, not to when it is drawn: after a stop the rest is drawn as it would have been. Ranks share the work. NON_FINITE where the model
 * gives no pictures. Needs Node.
 */
export const classPictures = (prior: Prior, { onProgress, batchSize = 4, ...sampling }: ClassPicturesOptions) => {
  let base: Model | null = null;
  return {
    name: 'class-pictures',
    apply(host: Host) {
      host.hooks.validate.tap((problems) => {
        const check = problems.options('class-pictures');
        checkSampling(check, 1, { ...sampling, batchSize });
        check.whole('count', prior.count, 1);
      });
      host.hooks.prepareModel.tap((model, problems) => {
        if (isTextToImage(model)) checkSize(problems.options('class-pictures'), model, sampling);
        base = model;
        return model;
      });
      host.hooks.onStart.tapPromise(async () => {
        const { rank, worldSize, sum } = host.resolve(COLLECTIVE);
        const missing = async () => (await priorPictures(prior)).flatMap(({ path }, index) => (existsSync(path) ? [] : [{ path, index }]));
        await draw((await missing()).filter(({ index }) => index % worldSize === rank));
        // The others have drawn theirs; on another machine, perhaps, where they are not seen.
        await sum(0);
        await draw(await missing());
      });

      async function draw(wanted: readonly { readonly path: string; readonly index: number }[]): Promise<void> {
        if (wanted.length === 0) return;
        if (!base || !isTextToImage(base))
          return fail('MODEL_UNFIT', 'class-pictures', 'the model is no text-to-image model', 'Use textToImageModel().');
        await mkdir(prior.folder, { recursive: true });
        for (let from = 0; from < wanted.length && !host.stopAsked(); from += batchSize) {
          const some = wanted.slice(from, from + batchSize);
          const random = host.resolve(RANDOM);
          const ofPicture: Random = { ...random, item: (name, which, place) => random.item(`class ${name}`, some[which].index, place) };
          const options = { ...sampling, batchSize, imagesPerPrompt: some.length, stop: host.stopAsked };
          const drawn = await sampleImages(base, weightsOf(base), ofPicture, [prior.caption], options);
          if (!drawn) return;
          if (!drawn.finite)
            fail('NON_FINITE', 'class-pictures', 'the model gives numbers that are not finite', 'Use another model, or mixedPrecision no.');
          const [, height, width] = drawn.shape;
          for (const [i, pixels] of picturesOf(drawn).entries()) await writePicture(some[i].path, pixels, { height, width });
          if (host.isFirstRank()) onProgress?.(from + some.length, wanted.length, 'class pictures');
        }
      }
    },
  };
};
