import { learnTokenizer } from '../../plugins/models/clip/learn-tokenizer.js';
import type { AutoencoderKLConfig } from '../../plugins/models/vae/config.js';
import type { Files } from '../../plugins/persist/formats/files.js';

/** Tokens of a caption that the model sees, with begin and end. */
const TOKENS = 16;

/** The config.json of the emoji model's autoencoder: 4 channels an eighth as wide. */
export const emojiAutoencoderConfig = (side: number) =>
  ({
    in_channels: 3,
    out_channels: 3,
    down_block_types: Array(4).fill('DownEncoderBlock2D'),
    up_block_types: Array(4).fill('UpDecoderBlock2D'),
    block_out_channels: [32, 64, 64, 96],
    layers_per_block: 1,
    act_fn: 'silu',
    latent_channels: 4,
    norm_num_groups: 8,
    sample_size: side,
  }) satisfies AutoencoderKLConfig;

/** The emoji base model's configuration: a small Stable Diffusion on the latents of an autoencoder, of `latentSide`, whose tokenizer is learnt from captions. */
export function emojiModel(captions: readonly string[], vae: Files, latentSide: number, textLayers: number, rescaleZeroSnr = false) {
  const tokenizer = learnTokenizer(captions, TOKENS);
  const textEncoder = {
    vocab_size: tokenizer.size,
    hidden_size: 128,
    intermediate_size: 256,
    num_hidden_layers: textLayers,
    num_attention_heads: 4,
    max_position_embeddings: TOKENS,
    // The last words of the vocabulary.
    bos_token_id: tokenizer.size - 2,
    eos_token_id: tokenizer.size - 1,
    pad_token_id: tokenizer.size - 1,
  };
  return {
    unet: {
      sample_size: latentSide,
      in_channels: 4,
      out_channels: 4,
      block_out_channels: [64, 96, 128],
      layers_per_block: 1,
      // Attention on the first level would double a step's time on a processor.
      down_block_types: ['DownBlock2D', 'CrossAttnDownBlock2D', 'CrossAttnDownBlock2D'] as ('DownBlock2D' | 'CrossAttnDownBlock2D')[],
      up_block_types: ['CrossAttnUpBlock2D', 'CrossAttnUpBlock2D', 'UpBlock2D'] as ('UpBlock2D' | 'CrossAttnUpBlock2D')[],
      cross_attention_dim: 128,
      attention_head_dim: 4,
      norm_num_groups: 8,
    },
    textEncoder,
    // With the usual 0.02 words are told apart much later.
    textStart: { token: 1, position: 0.3 },
    tokenizer,
    noise: {
      beta_schedule: 'squaredcos_cap_v2' as const,
      prediction_type: 'v_prediction' as const,
      timestep_spacing: 'trailing' as const,
      clip_sample: false,
      rescale_betas_zero_snr: rescaleZeroSnr,
    },
    vae,
  };
}
