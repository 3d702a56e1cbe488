import { join } from 'node:path';
import { fail, type Host, RANDOM } from '../../core/index.js';
import { isTextToImage } from '../objectives/denoising.js';
import { writeGrid } from '../persist/formats/png.js';
import { type SampleOptions, sampleImages } from '../samplers/walk/sampler.js';

export interface SamplesOptions extends SampleOptions {
  /** Also every so many steps, into grid-<step>.png. */
  readonly every?: number;
}

/** Draws the prompts before and after training into grid-before.png and grid-after.png, from the same noise. Needs Node. */
export const samples = (prompts: readonly string[], outputDir: string, { every, ...sampling }: SamplesOptions) => ({
  name: 'samples',
  apply(host: Host) {
    const draw = async (name: string) => {
      if (!host.isFirstRank()) return;
      const model = host.model();
      if (!isTextToImage(model)) return fail('MODEL_UNFIT', 'samples', 'the model is no text-to-image model', 'Use textToImageModel().');
      const { shape, data } = await sampleImages(model, host.weights('sample'), host.resolve(RANDOM), prompts, sampling);
      const size = shape[1] * shape[2] * 3;
      const images = prompts.map((_, i) => data.slice(i * size, (i + 1) * size).map((x) => (x + 1) / 2));
      await writeGrid(join(outputDir, `${name}.png`), images, { height: shape[1], width: shape[2] }, Math.min(8, prompts.length));
    };
    host.hooks.onStart.tapPromise(() => draw('grid-before'));
    host.hooks.onEnd.tapPromise(() => draw('grid-after'));
    if (every === undefined) return;
    host.hooks.onRequest.tap((requests, { step }) => ((step + 1) % every === 0 ? { ...requests, evaluate: 1 } : requests));
    host.hooks.onEvaluate.tapPromise(async (metrics, step) => {
      if ((step + 1) % every === 0) await draw(`grid-${step + 1}`);
      return metrics;
    });
  },
});
