import * as tf from '@tensorflow/tfjs';
import { expect, test } from 'vitest';
import { backward, makeContext, seededRandom, weightsOf } from '../../core/index.js';
import { deviceOf } from '../../plugins/devices/compute/installed.js';
import { buildTextToImage } from '../../plugins/models/stable-diffusion/build.js';
import { use } from '../support/devices.js';
import { smallDiffusion } from '../support/half.js';

test('prof', async () => {
  await use('webgpu');
  const device = deviceOf<any>(tf.backend());
  const real = device.backend.device.createComputePipeline.bind(device.backend.device);
  const times: [string, number][] = [];
  device.backend.device.createComputePipeline = (d: any) => { const t = performance.now(); const p = real(d); times.push([d.label ?? '?', performance.now() - t]); return p; };
  for (const mp of ['no', 'fp16'] as const) {
    times.length = 0;
    const model = await buildTextToImage({ from: smallDiffusion, train: 'nothing', mixedPrecision: mp }, seededRandom(3));
    const context = makeContext(model, { mode: 'evaluate', parameters: weightsOf(model) });
    let t0 = performance.now();
    let y: any = tf.tidy(() => model.encode(context, ['red cat', 'blue']).states);
    await y.data();
    console.log(mp, 'encode', performance.now() - t0); t0 = performance.now();
    y = tf.tidy(() => model.predict(context, tf.zeros([2, 8, 8, 12]), [10, 700], { states: tf.zeros([2, 6, 16]) }));
    await y.data();
    console.log(mp, 'predict', performance.now() - t0); t0 = performance.now();
    y = tf.tidy(() => model.predict(context, tf.zeros([2, 8, 8, 12]), [10, 700], { states: tf.zeros([2, 6, 16]) }));
    await y.data();
    console.log(mp, 'predict again', performance.now() - t0);
    console.log(times.length, times.reduce((a, b) => a + b[1], 0), times.map(([l, t]) => `${l} ${t.toFixed(0)}`).join('; '));
  }
  expect(1).toBe(1);
});
