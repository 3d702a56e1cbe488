import { readFile } from 'node:fs/promises';
import type { Tensor, TensorData } from '../../core/index.js';
import { readSafetensors } from '../../plugins/persist/formats/safetensors.js';
import { type StoredTensors, storedInMemory } from '../../plugins/persist/formats/stored-tensors.js';
import { tf } from './devices.js';

/** A file of test/fixtures. */
export const fixture = (path: string) => readFile(new URL(`../fixtures/${path}`, import.meta.url));
export const fixtureJson = async (path: string) => JSON.parse((await fixture(path)).toString('utf8'));

/** The tensors of a safetensors file of test/fixtures. */
export const fixtureTensors = async (path: string) => readSafetensors(await fixture(path), path).tensors;

/** The same with a prefix before each name, as a model's parameters are made of them. */
export const fixtureWeights = async (path: string, prefix: string): Promise<StoredTensors> =>
  storedInMemory(new Map([...(await fixtureTensors(path))].map(([name, value]) => [prefix + name, value])), path);

/** PyTorch's [n, c, h, w] to ours, [n, h, w, c]. */
export const toNHWC = ({ data, shape }: TensorData): tf.Tensor4D =>
  tf.tidy(() => tf.tensor4d(data as Float32Array, shape as [number, number, number, number]).transpose([0, 2, 3, 1]));

/** And back, to the host. */
export const toNCHW = async (t: Tensor) => {
  const turned = t.transpose([0, 3, 1, 2]);
  const data = await turned.data();
  turned.dispose();
  return data;
};
