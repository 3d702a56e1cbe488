import { fail, type Wrap } from '../../../core/index.js';
import * as tf from '../../../core/tf.js';
import { hasHalf, inHalf } from '../../devices/compute/half.js';
import type { Joined } from './join.js';

/** How precisely a model computes: `fp16` stores frozen weights and all that goes through the networks in half precision. */
export const MIXED_PRECISIONS = ['no', 'fp16'] as const;
export type MixedPrecision = (typeof MIXED_PRECISIONS)[number];

/** OPTION_INVALID where the current device has no half precision. */
export function requireHalf(): void {
  if (hasHalf()) return;
  fail(
    'OPTION_INVALID',
    'text-to-image-model',
    `mixed_precision is fp16, and the device ${tf.getBackend()} computes in single precision only`,
    'Compute on webgpu, tfjs-node or tfjs-node-gpu, or leave mixed_precision out.',
  );
}

const narrowed: Wrap = (_, inputs, next) => inHalf(next(inputs));
const given: Wrap = (_, [x, ...more], next) => next([inHalf(x), ...more]);

/**
 * Where the networks go over to half precision: after the denoiser's first convolution, since latents have too few channels, before the embeddings of
 * times and sizes, and before the text encoders' first layers. From there on operations hand it on.
 */
export function halfWraps({ components: { family } }: Pick<Joined, 'components'>): Map<string, readonly Wrap[]> {
  return new Map([
    ['unet.conv_in', [narrowed]],
    ['unet.time_embedding.linear_1', [given]],
    ['unet.add_embedding.linear_1', [given]],
    ...family.encoders.map(({ folder }): [string, readonly Wrap[]] => [`${folder}.encoder.layers.0`, [given]]),
  ]);
}
