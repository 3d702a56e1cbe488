import { fileURLToPath } from 'node:url';
import { openComponent } from '../../plugins/persist/formats/component-weights.js';
import { folder } from '../../plugins/persist/formats/folder.js';
import type { Family } from '../../plugins/persist/formats/lora/family.js';
import type { SingleFileParts } from '../../plugins/persist/formats/single-file/read.js';

/** The tiny pipelines of test/fixtures/pipelines, by their families. */
export const PIPELINES = { sd15: 'sd1', sd21: 'sd2', sdxl: 'sdxl' } as const satisfies Record<string, Family>;

/** A folder of one of them. */
export const pipelineFolder = (name: keyof typeof PIPELINES) =>
  folder(fileURLToPath(new URL(`../fixtures/pipelines/${name}`, import.meta.url)));

/** An AutoencoderKL of 4 and 8 channels, whose 4 channels of latents are half as wide as pictures: of 16 pixels, or more. */
export const tinyAutoencoder = pipelineFolder('sd15');

/** The networks of a pipeline in diffusers' layout. */
export async function pipelineParts(name: keyof typeof PIPELINES): Promise<SingleFileParts> {
  const files = pipelineFolder(name);
  const encoders = name === 'sdxl' ? ['text_encoder', 'text_encoder_2'] : ['text_encoder'];
  return {
    family: PIPELINES[name],
    unet: await openComponent(files, 'unet', 'diffusion_pytorch_model'),
    vae: await openComponent(files, 'vae', 'diffusion_pytorch_model'),
    encoders: await Promise.all(encoders.map((encoder) => openComponent(files, encoder, 'model'))),
  };
}
