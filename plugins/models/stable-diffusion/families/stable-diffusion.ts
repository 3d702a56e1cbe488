import type { Family, PublishedModel } from '../family.js';

/** The autoencoder that all published families have, but for the scale of its latents. */
export const PUBLISHED_VAE = {
  block_out_channels: [128, 256, 512, 512],
  down_block_types: ['DownEncoderBlock2D', 'DownEncoderBlock2D', 'DownEncoderBlock2D', 'DownEncoderBlock2D'],
  up_block_types: ['UpDecoderBlock2D', 'UpDecoderBlock2D', 'UpDecoderBlock2D', 'UpDecoderBlock2D'],
  layers_per_block: 2,
  sample_size: 512,
  scaling_factor: 0.18215,
};

/** CLIP ViT-L/14, which Stable Diffusion 1 and XL have. */
export const CLIP_L = {
  vocab_size: 49408,
  hidden_size: 768,
  intermediate_size: 3072,
  num_hidden_layers: 12,
  num_attention_heads: 12,
  projection_dim: 768,
  bos_token_id: 49406,
  eos_token_id: 49407,
  pad_token_id: 1,
};

/** The noise that all published families are trained with. */
export const PUBLISHED_NOISE = { beta_start: 0.00085, beta_end: 0.012, beta_schedule: 'scaled_linear', steps_offset: 1 } as const;

const noise: PublishedModel['noise'] = { _class_name: 'DDIMScheduler', ...PUBLISHED_NOISE, clip_sample: false, set_alpha_to_one: false };

/** Stable Diffusion 1 and 2 (Rombach et al. 2022), and steploom's own small models: one text encoder, its last layer's states with the final norm. */
export const stableDiffusion: Family = {
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
