import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { makeContext, seededRandom, weightsOf } from '../../../core/index.js';
import { leaveDevice } from '../../../plugins/data/cached-latents/leave-device.js';
import type { BackendInternals } from '../../../plugins/devices/webgpu/internals.js';
import { buildTextToImage } from '../../../plugins/models/stable-diffusion/build.js';
import { folder } from '../../../plugins/persist/formats/folder.js';
import { testDevices, tf, use } from '../../support/devices.js';

const onWebGPU = (await testDevices()).includes('webgpu');

test('on devices that take values at once nothing is moved', async () => {
  await use('cpu');
  const variable = tf.variable(tf.ones([2]));
  const { dataId } = variable;
  await leaveDevice({ parameters: new Map([['vae.x', { variable, trainable: false, group: 'vae' }]]) } as never);
  expect(variable.dataId).toBe(dataId);
  variable.dispose();
});

if (onWebGPU)
  test('weights are on a GPU once they are read; those that no step needs leave it, and come back when they are used', async () => {
    await use('webgpu');
    const from = folder(fileURLToPath(new URL('../../fixtures/pipelines/sd15', import.meta.url)));
    const model = await buildTextToImage({ from, train: 'unet' }, seededRandom(0));
    const { tensorMap } = tf.backend() as unknown as BackendInternals;
    const there = () =>
      [
        ...new Set(
          [...model.parameters.values()].flatMap(({ variable, group }) => (tensorMap.get(variable.dataId).resource ? [group] : [])),
        ),
      ].sort();
    const states = async () => {
      const context = makeContext(model, { mode: 'evaluate', parameters: weightsOf(model) });
      const found = tf.tidy(() => model.encode(context, ['the cat']).states);
      const data = await found.data();
      found.dispose();
      return data;
    };
    expect(there()).toEqual(['text_encoder', 'unet', 'vae']);
    const before = await states();
    const tensors = tf.memory().numTensors;
    await leaveDevice(model);
    expect(there()).toEqual(['unet']);
    expect(await states()).toEqual(before);
    expect(there()).toEqual(['text_encoder', 'unet']);
    expect(tf.memory().numTensors).toBe(tensors);
    for (const { variable } of model.parameters.values()) variable.dispose();
  });
