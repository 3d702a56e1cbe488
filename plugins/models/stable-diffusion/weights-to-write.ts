import { type TensorData, type Tensors, toHost } from '../../../core/index.js';
import { fileShape, toFile } from '../../persist/formats/pytorch-layout.js';
import type { TensorToWrite } from '../../persist/formats/safetensors.js';
import type { WeightSpec } from '../layers/builder.js';

/** A network's weights as a file has them; each comes from the device when its turn comes. */
export const weightsToWrite = (weights: Tensors, specs: readonly WeightSpec[], rename: (path: string) => string): TensorToWrite[] =>
  specs.map((spec) => {
    const shape = fileShape(spec);
    const read = async (): Promise<TensorData> => ({
      dtype: 'float32',
      shape,
      data: toFile((await toHost(weights[spec.path])).data as Float32Array, spec),
    });
    return { name: rename(spec.path), shape, read };
  });
