import { type Batch, type Context, fail, type Model } from '../../../core/index.js';
import type { Scalar, Tensor4D } from '../../../core/tf.js';
import { isAutoencoder } from '../../models/vae/autoencoder.js';

/** How near pictures come back from an autoencoder: the peak signal-to-noise ratio in dB, of the mean squared error of all of them in [0, 1]. */
export const psnr = {
  of(context: Context, model: Model, { tensors }: Batch): Scalar {
    if (!isAutoencoder(model)) return fail('MODEL_UNFIT', 'psnr', 'the model is no autoencoder', 'Use autoencoderModel().');
    const images = tensors.images as Tensor4D;
    const back = model.decode(context, model.encode(context, images).mean).clipByValue(-1, 1);
    return back.sub(images).div(2).square().mean() as Scalar;
  },
  shown: (mse: number): number => -10 * Math.log10(mse),
};
