import { type Host, RANDOM, type RandomGenerator } from '../../core/index.js';
import type { Tensor, Tensor4D } from '../../core/tf.js';
import * as tf from '../../core/tf.js';

export interface AugmentationOptions {
  /** Share of pictures that are flipped left to right; 0 by default. */
  readonly flip?: number;
  /** Share of pictures whose colours change: their channels in another order, then through a random matrix that keeps white about where it is; 0 by default. */
  readonly colours?: number;
}

/** Shows training's `images` [n, h, w, 3] in [-1, 1] otherwise each time, on the device. What becomes of a picture belongs to epoch and example. */
export const augmentation = ({ flip = 0, colours = 0 }: AugmentationOptions = {}) => ({
  name: 'augmentation',
  apply({ hooks, resolve }: Host) {
    const random = resolve(RANDOM);
    hooks.validate.tap((problems) => {
      const check = problems.options('augmentation');
      check.share('flip', flip);
      check.share('colours', colours);
    });
    hooks.onBatch.tap((batch, { epoch }) => {
      const { images, mask, ...others } = batch.tensors;
      if (!images) return batch;
      const draws = (name: string) => batch.ids.map((id) => random.item(name, epoch, id));
      const changed = tf.tidy(() => {
        let x = images as Tensor4D;
        if (flip > 0) x = flipped(x, draws('flip'), flip);
        if (colours > 0) x = recoloured(x, draws('colours'), colours);
        return x.clone();
      });
      images.dispose();
      const turned = mask && flip > 0 ? tf.tidy(() => flipped(mask as Tensor4D, draws('flip'), flip)) : mask;
      if (turned !== mask) mask.dispose();
      return { ...batch, tensors: { ...others, images: changed, ...(turned ? { mask: turned } : {}) } };
    });
  },
  settings: () => ({ flip, colours }),
});

function flipped(x: Tensor4D, draws: readonly RandomGenerator[], share: number): Tensor4D {
  const isFlipped = draws.map((draw) => (draw.uniform() < share ? 1 : 0));
  const column = (values: number[]) => tf.tensor4d(values, [values.length, 1, 1, 1]);
  const turned: Tensor = tf.reverse(x, 2).mul(column(isFlipped));
  return x.mul(column(isFlipped.map((is) => 1 - is))).add<Tensor4D>(turned);
}

/** y = M (x - 1) + 1 + b, cut to [-1, 1]: white is 1. What stays as it is has M = 1 and b = 0. */
function recoloured(x: Tensor4D, draws: readonly RandomGenerator[], share: number): Tensor4D {
  const [n, h, w] = x.shape;
  const matrices = new Float32Array(9 * n);
  const moved = new Float32Array(3 * n);
  for (const [i, draw] of draws.entries()) {
    const isChanged = draw.uniform() < share;
    const [from, diagonal] = isChanged ? [draw.permutation(3), 0.2 + 0.8 * draw.uniform()] : [[0, 1, 2], 1];
    const normals = draw.normals(new Float32Array(12));
    for (let out = 0; out < 3; out++) {
      for (let k = 0; k < 3; k++)
        matrices[9 * i + 3 * from[k] + out] = (k === out ? diagonal : 0) + (isChanged ? 0.35 * normals[3 * k + out] : 0);
      moved[3 * i + out] = 1 + (isChanged ? 0.1 * normals[9 + out] : 0);
    }
  }
  const pixels = x.sub(1).reshape([n, h * w, 3]);
  const through = tf.matMul(pixels, tf.tensor3d(matrices, [n, 3, 3])).add(tf.tensor3d(moved, [n, 1, 3]));
  return through.clipByValue(-1, 1).reshape([n, h, w, 3]);
}
