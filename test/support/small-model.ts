import { learnTokenizer } from '../../plugins/models/clip/learn-tokenizer.js';
import { tinyAutoencoder } from './pipelines.js';

/** Width and height of its pictures, in pixels. */
export const SIDE = 32;

/** Words of a caption that the model sees. */
const TOKENS = 12;

/** A small UNet on latents half as wide as its pictures, with a small CLIP text encoder and a tokenizer of these words. */
export function smallModel(words: readonly string[], textLayers: number, rescaleZeroSnr = false) {
  const tokenizer = learnTokenizer(words, TOKENS);
  return {
    unet: {
      sample_size: SIDE / 2,
      in_channels: 4,
      out_channels: 4,
      block_out_channels: [48, 64, 96],
      layers_per_block: 1,
      down_block_types: ['DownBlock2D', 'CrossAttnDownBlock2D', 'CrossAttnDownBlock2D'] as ('DownBlock2D' | 'CrossAttnDownBlock2D')[],
      up_block_types: ['CrossAttnUpBlock2D', 'CrossAttnUpBlock2D', 'UpBlock2D'] as ('UpBlock2D' | 'CrossAttnUpBlock2D')[],
      cross_attention_dim: 128,
      attention_head_dim: 4,
      norm_num_groups: 8,
    },
    textEncoder: {
      vocab_size: tokenizer.size,
      hidden_size: 128,
      intermediate_size: 256,
      num_hidden_layers: textLayers,
      num_attention_heads: 4,
      max_position_embeddings: TOKENS,
    },
    // With the usual 0.02 words are told apart much later.
    textStart: { token: 1, position: 0.3 },
    tokenizer,
    noise: {
      beta_schedule: 'squaredcos_cap_v2' as const,
      prediction_type: 'v_prediction' as const,
      timestep_spacing: 'trailing' as const,
      rescale_betas_zero_snr: rescaleZeroSnr,
    },
    vae: tinyAutoencoder,
  };
}
