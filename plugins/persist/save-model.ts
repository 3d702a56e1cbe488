import type { Host } from '../../core/index.js';
import { isTextToImage } from '../objectives/denoising.js';
import type { Files } from './files.js';

/** Writes the model (averaged, where EMA runs) in diffusers' layout when the run ends, also when it was stopped. */
export const saveModel = (files: Files, { half = false }: { half?: boolean } = {}) => ({
  name: 'save-model',
  apply: (host: Host) =>
    host.hooks.onEnd.tapPromise('save-model', async () => {
      if (!host.isFirstRank()) return;
      const model = host.model();
      if (isTextToImage(model)) await model.save(files, host.weights('export'), { half });
    }),
});
