import { differentiable } from '../../../core/index.js';
import type { Tensor, Tensor4D } from '../../../core/tf.js';
import * as tf from '../../../core/tf.js';
import { operation } from './contract.js';
import { columnSum, dense } from './dense.js';
import { fused } from './fused.js';
import { inFull } from './half.js';

/** What else is added to a convolution: a bias [out], and a tensor like the result. */
export interface Conv2dOptions {
  readonly stride: number;
  /** Pixels on every side, or TensorFlow's way. */
  readonly pad: number | 'same';
  readonly bias?: Tensor | undefined;
  readonly rest?: Tensor | undefined;
}

/** x [n, h, w, in] convolved with w [kh, kw, in, out], and what is added to it: in one pass where the device can. */
export function conv2d(x: Tensor, w: Tensor, { stride, pad, bias, rest }: Conv2dOptions): Tensor {
  if (w.shape[0] === 1 && w.shape[1] === 1 && stride === 1 && (pad === 0 || pad === 'same'))
    return dense(x, w.reshape([w.shape[2] as number, w.shape[3] as number]), { bias, rest });
  const border = pad === 'same' ? 0 : pad;
  const around: [[number, number], [number, number], [number, number], [number, number]] = [
    [0, 0],
    [border, border],
    [border, border],
    [0, 0],
  ];
  const same = pad === 'same' || (stride === 1 && w.shape[0] === 2 * pad + 1 && w.shape[1] === 2 * pad + 1);
  if (border > 0 && !same && operation('padsBeforeConvolution')) return conv2d(tf.pad(x, around), w, { stride, pad: 0, bias, rest });
  const padding = pad === 0 ? 'valid' : same ? 'same' : around;
  const attributes = { strides: stride, pad: padding, dataFormat: 'NHWC', dimRoundingMode: undefined };
  const convolution = operation('convolution');
  if (rest && !convolution) return conv2d(x, w, { stride, pad, bias }).add(rest);
  return differentiable(
    { x, w, ...(bias ? { bias } : {}), ...(rest ? { rest } : {}) },
    (save) => {
      save([x, w]);
      if (convolution) return convolution(x, w, { strides: stride, pad: padding, bias, rest });
      return tf.fused.conv2d({ x: x as Tensor4D, filter: w as Tensor4D, strides: stride, pad: padding, ...(bias ? { bias } : {}) });
    },
    (dy, [input, filter]) => ({
      x: () =>
        tf
          .engine()
          .runKernel('Conv2DBackpropInput', { dy, filter } as never, { ...attributes, inputShape: input.shape } as never) as Tensor,
      w: () =>
        inFull(
          tf
            .engine()
            .runKernel('Conv2DBackpropFilter', { x: input, dy } as never, { ...attributes, filterShape: filter.shape } as never) as Tensor,
        ),
      bias: () => columnSum(dy),
      rest: () => dy,
    }),
  );
}

/** Doubles height and width by repeating pixels. Its gradient is written out: TensorFlow.js's is wrong on cpu for batches. */
export const upsample2x = (x: Tensor): Tensor => {
  const [, h, w] = x.shape;
  return differentiable(
    { x },
    () => fused('upsample', { x })?.[0] ?? tf.image.resizeNearestNeighbor(x as Tensor4D, [h * 2, w * 2]),
    (dy) => ({ x: () => fused('upsampleGrad', { dy })?.[0] ?? tf.avgPool(dy as Tensor4D, 2, 2, 'valid').mul(4) }),
  );
};
