// What the published models of several families have in common.

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
