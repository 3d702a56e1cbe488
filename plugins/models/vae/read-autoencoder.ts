import { type OpenComponentOptions, openComponent } from '../../persist/formats/component-weights.js';
import { type Files, readJson } from '../../persist/formats/files.js';
import type { StoredTensors } from '../../persist/formats/stored-tensors.js';

/** Where an autoencoder stands in a folder: in its vae/, or in itself. */
const placeIn = async (files: Files): Promise<string> => ((await files.size('vae/config.json')) === null ? '' : 'vae');

/** The config.json of an autoencoder's folder, its own or a whole model's. */
export async function readAutoencoderConfig(files: Files): Promise<Readonly<Record<string, unknown>>> {
  const place = await placeIn(files);
  return readJson(files, place === '' ? 'config.json' : `${place}/config.json`);
}

/** The same with the weights, below `vae.`. */
export async function readAutoencoderFolder(
  files: Files,
  options: OpenComponentOptions = {},
): Promise<{ readonly config: object; readonly tensors: StoredTensors }> {
  const config = await readAutoencoderConfig(files);
  const tensors = await openComponent(files, await placeIn(files), 'diffusion_pytorch_model', options);
  return { config, tensors: new Map([...tensors].map(([name, stored]) => [`vae.${name}`, stored])) };
}
