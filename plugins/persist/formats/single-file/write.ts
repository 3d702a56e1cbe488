import type { StoredTensor, StoredTensors } from '../stored-tensors.js';
import { ENCODERS, UNET, VAES } from './family.js';
import type { SingleFileParts } from './read.js';
import { clipToSingleFile, openClipToSingleFile } from './text-encoders.js';
import { unetToSingleFile } from './unet.js';
import { vaeToSingleFile } from './vae.js';

/**
 * A model's tensors under the names of a single file, from those of its networks under diffusers' names: what AUTOMATIC1111 and ComfyUI read. Of Stable
 * Diffusion 2's text encoder they hold one block more, which nothing uses and folders do not have. WEIGHTS_MISMATCH for a tensor that has no place there.
 */
export function toSingleFile({ family, unet, vae, encoders }: SingleFileParts): StoredTensors {
  const all = new Map<string, StoredTensor>();
  const add = (prefix: string, tensors: StoredTensors) => {
    for (const [name, stored] of tensors) all.set(prefix + name, stored);
  };
  add(UNET, unetToSingleFile(unet));
  add(VAES[0], vaeToSingleFile(vae));
  for (const [i, prefix] of ENCODERS[family].entries())
    add(prefix, prefix.endsWith('transformer.') ? clipToSingleFile(encoders[i]) : openClipToSingleFile(encoders[i]));
  return all;
}
