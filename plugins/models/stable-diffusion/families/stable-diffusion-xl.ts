import type { Family } from '../family.js';
import { CLIP_L, PUBLISHED_NOISE, PUBLISHED_VAE } from '../published.js';

/** Stable Diffusion XL (Podell et al. 2023): the penultimate states of two text encoders, without their norm, and the second's pooled state, projected. */
export const family: Family = {
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
  published: {
    sdxl: {
      unet: {
        sample_size: 128,
        block_out_channels: [320, 640, 1280],
        down_block_types: ['DownBlock2D', 'CrossAttnDownBlock2D', 'CrossAttnDownBlock2D'],
        up_block_types: ['CrossAttnUpBlock2D', 'CrossAttnUpBlock2D', 'UpBlock2D'],
        transformer_layers_per_block: [1, 2, 10],
        attention_head_dim: [5, 10, 20],
        cross_attention_dim: 2048,
        use_linear_projection: true,
        addition_embed_type: 'text_time',
        addition_time_embed_dim: 256,
        projection_class_embeddings_input_dim: 2816,
      },
      encoders: [
        CLIP_L,
        {
          ...CLIP_L,
          hidden_size: 1280,
          intermediate_size: 5120,
          num_hidden_layers: 32,
          num_attention_heads: 20,
          projection_dim: 1280,
          hidden_act: 'gelu',
        },
      ],
      paddings: ['<|endoftext|>', '!'],
      vae: { ...PUBLISHED_VAE, sample_size: 1024, scaling_factor: 0.13025 },
      noise: { _class_name: 'EulerDiscreteScheduler', ...PUBLISHED_NOISE, timestep_spacing: 'leading' },
    },
  },
};
