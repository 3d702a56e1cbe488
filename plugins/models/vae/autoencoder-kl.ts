import { type Context, type Tensor, withoutGradient } from '../../../core/index.js';
import type { Tensor4D } from '../../../core/tf.js';
import * as tf from '../../../core/tf.js';
import { normalsOf } from '../../devices/compute/normals.js';
import { Builder } from '../layers/builder.js';
import { autoencoderBlocks } from './blocks.js';
import type { Codec } from './codec.js';
import { parseAutoencoderKLConfig } from './config.js';
import { sliced, type Tiling, tiled } from './tiles.js';

/** The normal distribution of an image's latents: each [n, h, w, latent_channels], before shift and scaling. */
export interface LatentDistribution {
  readonly mean: Tensor4D;
  /** The logarithm of the variance, clamped to [-30, 20]. */
  readonly logvar: Tensor4D;
}

export interface AutoencoderKLOptions {
  /**
   * Pictures with a side above so many pixels are encoded and decoded in overlapping tiles of this side, as diffusers does with enable_vae_tiling():
   * norms then see a tile, not the whole picture. 512 if left out; Infinity never cuts.
   */
  readonly tile?: number;
}

/** Tiles overlap by a quarter. */
const OVERLAP = 0.25;

/** So many pixels are computed at once, in pictures of one batch. */
const TOGETHER = 512 * 512;

/**
 * diffusers' AutoencoderKL under its parameter names. What its codec computes is a constant to gradients; `trainable` is for training it. All of it is
 * float32, since float16 overflows in SDXL's. Its modules stand apart from those of a model, whose name patterns (to_q) would find them too.
 */
export function autoencoderKL(json: object, prefix = 'vae.', { tile = 512 }: AutoencoderKLOptions = {}) {
  const config = parseAutoencoderKLConfig(json);
  const { latent_channels: channels } = config;
  const factor = 2 ** (config.block_out_channels.length - 1);
  const build = new Builder(prefix);
  const blocks = autoencoderBlocks(build, config);
  const encoder = blocks.encoder(2 * channels);
  const decoder = blocks.decoder();
  const quant = config.use_quant_conv ? build.conv('quant_conv', 2 * channels, 2 * channels, 1) : null;
  const postQuant = config.use_post_quant_conv ? build.conv('post_quant_conv', channels, channels, 1) : null;
  const encoded = build.graph((context: Context, x: Tensor) => {
    const h = encoder(context, x);
    return quant ? quant(context, h) : h;
  }, 'encoder');
  const decoded = build.graph((context: Context, x: Tensor) => decoder(context, postQuant ? postQuant(context, x) : x), 'decoder');

  /** Of what the encoder gives. */
  const distribution = (h: Tensor): LatentDistribution => {
    const [mean, logvar] = tf.split<Tensor4D>(h as Tensor4D, 2, 3);
    return { mean, logvar: logvar.clipByValue(-30, 20) as Tensor4D };
  };

  /** Runs `compute` on so many examples that they have about TOGETHER pixels, and on tiles where a picture is larger than `side`. */
  function inPieces(
    x: Tensor4D,
    { side, kept, blend, pixels }: Omit<Tiling, 'step'> & { pixels: number },
    compute: (part: Tensor4D) => Tensor4D,
  ) {
    const [, h, w] = x.shape;
    const tiling = { side, step: Math.floor(side * (1 - OVERLAP)), kept, blend };
    const one = (image: Tensor4D) => (h > side || w > side ? tiled(image, tiling, compute) : compute(image));
    return sliced(x, Math.max(1, Math.floor(TOGETHER / (h * w * pixels))), one);
  }

  const latentTile = Math.floor(tile / factor);
  const fade = { latents: Math.floor(latentTile * OVERLAP), pixels: Math.floor(tile * OVERLAP) };

  /** Mean and logvar along the last axis: what `codec.moments` gives. */
  const packed = (context: Context, pixels: Tensor4D): Tensor4D =>
    withoutGradient(() =>
      inPieces(pixels, { side: tile, kept: latentTile - fade.latents, blend: fade.latents, pixels: 1 }, (part) =>
        tf.tidy(() => {
          const { mean, logvar } = distribution(encoded(context, part));
          return tf.concat([mean, logvar], 3) as Tensor4D;
        }),
      ),
    ) as Tensor4D;

  const unpacked = (moments: Tensor4D): LatentDistribution => {
    const [mean, logvar] = tf.split<Tensor4D>(moments, 2, 3);
    return { mean, logvar };
  };

  const { latents_mean: means, latents_std: deviations, scaling_factor: scaling } = config;
  const shift = config.shift_factor ?? 0;
  /** To what the denoiser expects: (x - shift) scaling, or by channel (x - mean) scaling / deviation. */
  const scaled = (x: Tensor4D): Tensor4D => {
    if (means && deviations) return x.sub<Tensor4D>(tf.tensor1d(means)).mul<Tensor4D>(tf.tensor1d(deviations.map((s) => scaling / s)));
    return (shift === 0 ? x : x.sub<Tensor4D>(shift)).mul<Tensor4D>(scaling);
  };
  const unscaled = (x: Tensor4D): Tensor4D => {
    if (means && deviations) return x.mul<Tensor4D>(tf.tensor1d(deviations.map((s) => s / scaling))).add<Tensor4D>(tf.tensor1d(means));
    const plain = x.div<Tensor4D>(scaling);
    return shift === 0 ? plain : plain.add<Tensor4D>(shift);
  };

  const sample = (context: Context, moments: Tensor4D, ids: readonly number[]): Tensor4D =>
    withoutGradient(() => {
      const { mean, logvar } = unpacked(moments);
      const noise = normalsOf(
        ids.map((id) => context.draw('vae', id)),
        mean.shape.slice(1),
      );
      return scaled(mean.add<Tensor4D>(logvar.mul(0.5).exp().mul(noise)));
    }) as Tensor4D;

  const codec: Codec = {
    factor,
    moments: packed,
    sample,
    encode: (context, pixels, ids) => withoutGradient(() => sample(context, packed(context, pixels), ids)) as Tensor4D,
    decode: (context, latents) =>
      withoutGradient(() =>
        inPieces(unscaled(latents), { side: latentTile, kept: tile - fade.pixels, blend: fade.pixels, pixels: factor * factor }, (part) =>
          tf.tidy(() => decoded(context, part) as Tensor4D),
        ),
      ) as Tensor4D,
  };

  return {
    config,
    specs: build.specs,
    modules: build.modules,
    graphs: build.graphs,
    blocks: build.blocks,
    factor,
    codec,
    /** What is trained of it, whole pictures at once: latents as they are before shift and scaling, of pixels and back. Gradients go through both. */
    trainable: {
      encode: (context: Context, pixels: Tensor): LatentDistribution => distribution(encoded(context, pixels)),
      decode: (context: Context, latents: Tensor) => decoded(context, latents) as Tensor4D,
    },
    moments: (context: Context, pixels: Tensor4D): LatentDistribution => {
      const both = packed(context, pixels);
      const moments = unpacked(both);
      both.dispose();
      return moments;
    },
  };
}
