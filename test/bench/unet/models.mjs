/** The denoisers of Stable Diffusion 1.5 and XL, with the side of their latents and the width of their text states; `scale` divides widths and sides. */
export const denoisers = (scale = 1) => {
  const down = (size) => Math.max(8, Math.round(size / scale / 8) * 8);
  const groups = (channels) => (scale === 1 ? 32 : channels[0]);
  const sd15 = [320, 640, 1280, 1280].map(down);
  const sdxl = [320, 640, 1280].map(down);
  return {
    sd15: {
      side: down(64),
      width: down(768),
      config: {
        sample_size: 64,
        in_channels: 4,
        out_channels: 4,
        block_out_channels: sd15,
        layers_per_block: 2,
        down_block_types: ['CrossAttnDownBlock2D', 'CrossAttnDownBlock2D', 'CrossAttnDownBlock2D', 'DownBlock2D'],
        up_block_types: ['UpBlock2D', 'CrossAttnUpBlock2D', 'CrossAttnUpBlock2D', 'CrossAttnUpBlock2D'],
        cross_attention_dim: down(768),
        attention_head_dim: scale === 1 ? 8 : 1,
        norm_num_groups: groups(sd15),
      },
    },
    sdxl: {
      side: down(128),
      width: down(2048),
      config: {
        sample_size: 128,
        in_channels: 4,
        out_channels: 4,
        block_out_channels: sdxl,
        layers_per_block: 2,
        down_block_types: ['DownBlock2D', 'CrossAttnDownBlock2D', 'CrossAttnDownBlock2D'],
        up_block_types: ['CrossAttnUpBlock2D', 'CrossAttnUpBlock2D', 'UpBlock2D'],
        cross_attention_dim: down(2048),
        attention_head_dim: scale === 1 ? [5, 10, 20] : [1, 1, 1],
        transformer_layers_per_block: scale === 1 ? [1, 2, 10] : [1, 1, 1],
        use_linear_projection: true,
        norm_num_groups: groups(sdxl),
        addition_embed_type: 'text_time',
        addition_time_embed_dim: 256,
        projection_class_embeddings_input_dim: 1280 + 6 * 256,
      },
    },
  };
};
