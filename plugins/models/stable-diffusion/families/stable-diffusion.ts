import type { Family } from '../family.js';

/** Stable Diffusion 1 and 2 (Rombach et al. 2022), and steploom's own small models: one text encoder, its last layer's states with the final norm. */
export const stableDiffusion: Family = {
  name: 'Stable Diffusion 1 and 2',
  pipelines: ['StableDiffusionPipeline', 'StableDiffusionImg2ImgPipeline'],
  encoders: [{ folder: 'text_encoder', tokenizer: 'tokenizer', kind: 'CLIPTextModel', outputs: {} }],
  sizes: false,
  zerosForNoText: false,
};
