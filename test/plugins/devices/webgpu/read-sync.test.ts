import { expect, test } from 'vitest';
import { tryDevice } from '../../../../plugins/devices/choice/candidates.js';
import type { Program } from '../../../../plugins/devices/compute/program.js';
import { Effects, override } from '../../../../plugins/devices/compute/undo.js';
import { applyUpdate } from '../../../../plugins/devices/compute/update.js';
import { tf } from '../../../support/devices.js';

const found = await tryDevice('webgpu');
const works = 'report' in found;
if (!works) console.log(`not tested here: reading at once from webgpu (${found.why})`);

const double: Program = { name: 'double', arrays: ['a'], writes: ['a'], factors: [], body: (x, { a }) => ({ a: x.mul(a, 2) }) };

// What browsers have for it, through which TensorFlow.js reads without waiting, is not in Node: a stand-in says of which buffer.
test.runIf(works)('what lies in one buffer with others is read at once as that alone', async () => {
  const { device } = tf.backend() as unknown as { device: GPUDevice };
  const sizes: number[] = [];
  const { copyBufferToTexture } = GPUCommandEncoder.prototype;
  const effects = new Effects();
  effects.add(
    override<object>(globalThis, {
      OffscreenCanvas: class {
        getContext = (kind: string) =>
          kind === 'webgpu'
            ? {
                configure: () => undefined,
                getCurrentTexture: () => device.createTexture({ size: [256, 256], format: 'bgra8unorm', usage: GPUTextureUsage.COPY_DST }),
              }
            : {
                clearRect: () => undefined,
                drawImage: () => undefined,
                getImageData: (_x: number, _y: number, width: number, height: number) => ({
                  data: new Uint8ClampedArray(4 * width * height),
                }),
              };
      },
    }),
  );
  effects.add(
    override<GPUCommandEncoder>(GPUCommandEncoder.prototype, {
      copyBufferToTexture(from, to, size) {
        sizes.push(from.buffer.size);
        return copyBufferToTexture.call(this, from, to, size);
      },
    }),
  );
  const variables = Array.from({ length: 24 }, (_, k) => tf.tidy(() => tf.variable(tf.fill([64], k))));
  try {
    applyUpdate(
      double,
      variables.map((a) => ({ a })),
    );
    variables[3].dataSync();
    expect(new Set(sizes)).toEqual(new Set([256]));
    expect([...(await variables[4].data())]).toEqual(new Array(64).fill(8));
  } finally {
    effects.undo();
    tf.dispose(variables);
  }
});
