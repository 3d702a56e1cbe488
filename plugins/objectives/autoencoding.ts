import { type Batch, type Context, fail, type Host, type Model, OBJECTIVE, type Objective } from '../../core/index.js';
import type { Scalar, Tensor, Tensor4D } from '../../core/tf.js';
import { meanErrors } from '../devices/compute/mean-errors.js';
import { normalsOf } from '../devices/compute/normals.js';
import { isAutoencoder } from '../models/vae/autoencoder.js';

export interface AutoencodingOptions {
  /** Weight of the mean absolute difference between pixels, which lie in [-1, 1]; 1 by default. */
  readonly l1?: number;
  /** Weight of their mean squared difference; 2 by default. */
  readonly l2?: number;
  /** Weight of a picture's divergence from standard normal latents (Kingma and Welling 2014), a sum over its latents; 1e-6 by default. */
  readonly kl?: number;
  /** Weight of the mean absolute difference between neighbours' differences, along rows and columns: how edges are kept; 0 by default. */
  readonly edge?: number;
}

/**
 * Pictures through an autoencoder and back. Batches hold `images` [n, h, w, 3] in [-1, 1]. In training latents are drawn from what the encoder gives, with
 * noise that belongs to the example; an evaluation takes their means.
 */
export const autoencoding = ({ l1 = 1, l2 = 2, kl = 1e-6, edge = 0 }: AutoencodingOptions = {}) =>
  ({
    name: 'autoencoding',
    fills: OBJECTIVE,
    apply({ hooks }: Host) {
      hooks.validate.tap((problems) => {
        const check = problems.options('autoencoding');
        for (const [name, value] of Object.entries({ l1, l2, kl, edge })) check.notNegative(name, value);
        if (l1 === 0 && l2 === 0) check.invalid('l1 and l2 are 0: nothing compares the pixels', 'Give one of them.');
      });
    },
    settings: () => ({ l1, l2, kl, edge }),
    loss(context: Context, model: Model, { ids, tensors }: Batch): Scalar {
      if (!isAutoencoder(model)) return fail('MODEL_UNFIT', 'autoencoding', 'the model is no autoencoder', 'Use autoencoderModel().');
      const images = tensors.images as Tensor4D;
      const { mean, logvar } = model.encode(context, images);
      const drawn = () => {
        const noise = normalsOf(
          ids.map((id) => context.draw('vae', id)),
          mean.shape.slice(1),
        );
        return mean.add<Tensor4D>(logvar.mul(0.5).exp().mul(noise));
      };
      const difference = model.decode(context, context.mode === 'train' ? drawn() : mean).sub(images);
      let each: Tensor = meanErrors(difference, l1, l2);
      if (edge > 0) for (const axis of [1, 2] as const) each = each.add(meanErrors(alongAxis(difference, axis), edge, 0));
      if (kl > 0) each = each.add(divergence(mean, logvar).mul(kl));
      return each.mean() as Scalar;
    },
  }) satisfies Objective & Record<string, unknown>;

/** Each element less the one before it: [n, h, w, c], one shorter along `axis`. */
function alongAxis(x: Tensor, axis: 1 | 2): Tensor {
  const size = [...x.shape];
  size[axis]--;
  const begin = [0, 0, 0, 0];
  begin[axis] = 1;
  return x.slice(begin, size).sub(x.slice([0, 0, 0, 0], size));
}

/** Of N(mean, exp(logvar)) from N(0, 1), summed over each example: [n, ...] both, to [n]. */
function divergence(mean: Tensor, logvar: Tensor): Tensor {
  const each = mean.square().add(logvar.exp()).sub(logvar).sub(1).mul(0.5);
  return each.reshape([each.shape[0], -1]).sum(1);
}
