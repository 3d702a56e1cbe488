import type { Family, PublishedModel } from '../family.js';
import { CLIP_L, PUBLISHED_NOISE, PUBLISHED_VAE } from '../published.js';

const noise: PublishedModel['noise'] = { _class_name: 'DDIMScheduler', ...PUBLISHED_NOISE, clip_sample: false, set_alpha_to_one: false };

/** Stable Diffusion 1 and 2 (Rombach et al. 2022), and steploom's own small models: one text encoder, its last layer's states with the final norm. */
export const family: Family = {
  name: 'Stable Diffusion 1 and 2',
  pipelines: ['StableDiffusionPipeline', 'StableDiffusionImg2ImgPipeline'],
  encoders: [{ folder: 'text_encoder', tokenizer: 'tokenizer', kind: 'CLIPTextModel', outputs: {} }],
  sizes: false,
  zerosForNoText: false,
  published: {
    sd1: {
      unet: { sample_size: 64, cross_attention_dim: 768 },
      encoders: [CLIP_L],
      paddings: ['<|endoftext|>'],
      vae: PUBLISHED_VAE,
      noise,
    },
    sd2: {
      unet: {
        sample_size: 64,
        cross_attention_dim: 1024,
        attention_head_dim: [5, 10, 20, 20],
        use_linear_projection: true,
        upcast_attention: true,
      },
      encoders: [
        {
          ...CLIP_L,
          hidden_size: 1024,
          intermediate_size: 4096,
          num_hidden_layers: 23,
          num_attention_heads: 16,
          projection_dim: 1024,
          hidden_act: 'gelu',
        },
      ],
      paddings: ['!'],
      vae: PUBLISHED_VAE,
      noise,
    },
  },
};
