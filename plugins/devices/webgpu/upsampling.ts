import type { TensorInfo } from '../../../core/tf.js';
import type { WebGPUDevice } from './device.js';
import { dispatchEach, newLike, vectorsIn, widthOf } from './vectors.js';

/** x [n, h, w, c] with each pixel four times: [n, 2h, 2w, c]. */
export function upsample(device: WebGPUDevice, [x]: TensorInfo[]): TensorInfo[] {
  const [n, h, w, c] = x.shape;
  const width = widthOf(c);
  const result = newLike(device, x, [n, 2 * h, 2 * w, c]);
  dispatchEach(
    device,
    {
      name: 'upsample',
      width,
      read: { x },
      write: { result },
      sizes: { columns: c / width, w },
      body: `let value = x(i); ${CORNER}
  result(at, value); result(at + columns, value); result(at + below, value); result(at + below + columns, value);`,
    },
    vectorsIn(x, width),
  );
  return [result];
}

/** dy [n, 2h, 2w, c] summed up over each four pixels. */
export function upsampleGrad(device: WebGPUDevice, [dy]: TensorInfo[]): TensorInfo[] {
  const [n, h, w, c] = dy.shape;
  const width = widthOf(c);
  const result = newLike(device, dy, [n, h / 2, w / 2, c]);
  dispatchEach(
    device,
    {
      name: 'upsampleGrad',
      width,
      read: { dy },
      write: { result },
      sizes: { columns: c / width, w: w / 2 },
      body: `${CORNER}
  result(i, (dy(at) + dy(at + columns)) + (dy(at + below) + dy(at + below + columns)));`,
    },
    vectorsIn(result, width),
  );
  return [result];
}

/** The first of the four pixels of a vector i of the small image, and how far the row below is. */
const CORNER = `let pixel = i / columns;
  let below = 2u * w * columns;
  let at = (pixel / w) * 2u * below + (pixel % w) * 2u * columns + i % columns;`;
