import { MODEL, type ModelProvider, type Random, type Settings } from '../../core/index.js';
import type { Files } from '../persist/formats/files.js';
import { type Autoencoder, buildAutoencoder } from './vae/autoencoder.js';
import type { AutoencoderKLConfig } from './vae/config.js';

export interface AutoencoderModelOptions {
  /** A folder with an autoencoder, its own or a whole model's; or the config.json of a new one. */
  readonly from: Files | AutoencoderKLConfig;
}

/** An AutoencoderKL, all of which is trained. */
export const autoencoderModel = ({ from }: AutoencoderModelOptions) => {
  let found: Pick<Autoencoder, 'base' | 'configuration'> | null = null;
  return {
    name: 'autoencoder-model',
    fills: MODEL,
    async build(random: Random) {
      const model = await buildAutoencoder(from, random);
      found = model;
      return model;
    },
    // A run goes on from the model that it began with, wherever that stands.
    settings: () => ({ base: found?.base ?? '', configuration: found?.configuration ?? '' }),
  } satisfies ModelProvider & { name: string; fills: typeof MODEL; settings(): Settings };
};
