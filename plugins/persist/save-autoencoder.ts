import { placeIn } from '#place';
import { fail, type Host, type Source, type Tensors } from '../../core/index.js';
import type { Tensor4D } from '../../core/tf.js';
import * as tf from '../../core/tf.js';
import { type Autoencoder, isAutoencoder } from '../models/vae/autoencoder.js';
import type { Files } from './formats/files.js';
import { refuseRuined, trainedOf } from './weights/finite.js';

export interface SaveAutoencoderOptions {
  readonly half?: boolean;
}

/**
 * Writes the autoencoder in diffusers' layout into a folder when the run ends, also when it was stopped, or as files, in a browser's memory say: averaged weights
 * where some plugin averages. Its scaling_factor is 1 / the standard deviation of the latents of the pictures it was trained on, as they are without augmentation; with several
 * processes, of those of the first.
 */
export const saveAutoencoder = (into: string | Files, { half = false }: SaveAutoencoderOptions = {}) => {
  const files = placeIn(into);
  let source: Source;
  return {
    name: 'save-autoencoder',
    after: ['early-stopping'],
    apply(host: Host) {
      host.hooks.prepareData.tap((data) => {
        source = data;
        return data;
      });
      host.hooks.onEnd.tapPromise(async () => {
        if (!host.isFirstRank()) return;
        const model = host.model();
        if (!isAutoencoder(model)) return fail('MODEL_UNFIT', 'save-autoencoder', 'the model is no autoencoder', 'Use autoencoderModel().');
        const weights = host.weights('export');
        await refuseRuined('save-autoencoder', trainedOf(model, weights));
        await model.save(files, weights, { scaling: 1 / (await deviationOf(model, weights)), half });
        host.wrote(`${files.where}/vae`);
      });
      /** The standard deviation of the latents' means, over all pictures and channels. */
      async function deviationOf(model: Autoencoder, weights: Tensors): Promise<number> {
        let [count, sum, squares] = [0, 0, 0];
        const ids = Array.from(source.ids(0));
        for (let at = 0; at < ids.length; at += source.batchSize) {
          const batch = await source.load(ids.slice(at, at + source.batchSize), { epoch: 0, upcoming: [] });
          const means = tf.tidy(() => model.encode(host.evaluation(weights), batch.tensors.images as Tensor4D).mean);
          tf.dispose(batch.tensors);
          for (const x of await means.data()) {
            count++;
            sum += x;
            squares += x * x;
          }
          means.dispose();
        }
        return Math.sqrt(squares / count - (sum / count) ** 2);
      }
    },
  };
};
