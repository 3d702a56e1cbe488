import type { Family } from '../family.js';

/** Stable Diffusion XL (Podell et al. 2023): the penultimate states of two text encoders, without their norm, and the second's pooled state, projected. */
export const stableDiffusionXL: Family = {
  name: 'Stable Diffusion XL',
  pipelines: ['StableDiffusionXLPipeline', 'StableDiffusionXLImg2ImgPipeline'],
  encoders: [
    { folder: 'text_encoder', tokenizer: 'tokenizer', kind: 'CLIPTextModel', outputs: { skip: 1, normalized: false } },
    {
      folder: 'text_encoder_2',
      tokenizer: 'tokenizer_2',
      kind: 'CLIPTextModelWithProjection',
      outputs: { skip: 1, normalized: false, pooled: true },
    },
  ],
  sizes: true,
  zerosForNoText: true,
};
