import { type Host, weightsOf } from '../../core/index.js';
import { isTextToImage } from '../models/stable-diffusion/text-to-image.js';
import type { Files } from './formats/files.js';
import { refuseRuined, trainedOf } from './weights/finite.js';

export interface SaveModelOptions {
  readonly half?: boolean;
  /** Where the averaged model goes, if some plugin averages; never into the model's place. */
  readonly averaged?: Files;
}

/** Writes the model in diffusers' layout when the run ends, also when it was stopped, and the averaged one beside it. */
export const saveModel = (files: Files, { half = false, averaged }: SaveModelOptions = {}) => ({
  name: 'save-model',
  // What is saved are the weights that the run ends with.
  after: ['early-stopping'],
  apply: (host: Host) =>
    host.hooks.onEnd.tapPromise(async () => {
      if (!host.isFirstRank()) return;
      const model = host.model();
      if (!isTextToImage(model)) return;
      const [trained, exported] = [weightsOf(model), host.weights('export')];
      for (const weights of [trained, exported]) await refuseRuined('save-model', trainedOf(model, weights));
      await model.save(files, trained, { half });
      host.wrote(files.where);
      if (!averaged || Object.keys(trained).every((path) => trained[path] === exported[path])) return;
      await model.save(averaged, exported, { half });
      host.wrote(averaged.where);
    }),
});
