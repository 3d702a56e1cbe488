import { placeIn } from '#place';
import { type Host, weightsOf } from '../../core/index.js';
import { isTextToImage } from '../models/stable-diffusion/text-to-image.js';
import type { Files } from './formats/files.js';
import { refuseRuined, trainedOf } from './weights/finite.js';

export interface SaveModelOptions {
  readonly half?: boolean;
  /** Where an averaged model goes of one that is not written into a folder; never into the model's place. */
  readonly averaged?: Files;
}

/**
 * Writes the model in diffusers' layout when the run ends, also when it was stopped: into model/ of a folder, or as files, in a browser's memory say. The
 * averaged one, if some plugin averages, is written beside it, into model-averaged/.
 */
export const saveModel = (into: string | Files, { half = false, averaged }: SaveModelOptions = {}) => {
  const place = placeIn(into, 'model');
  const beside = typeof into === 'string' ? placeIn(into, 'model-averaged') : averaged;
  return {
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
        await model.save(place, trained, { half });
        host.wrote(place.where);
        if (!beside || Object.keys(trained).every((path) => trained[path] === exported[path])) return;
        await model.save(beside, exported, { half });
        host.wrote(beside.where);
      }),
  };
};
