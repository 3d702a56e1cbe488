import * as tf from '../../core/tf.js';
import { deviceOf } from '../../plugins/devices/compute/installed.js';
import type { WebGPUDevice } from '../../plugins/devices/webgpu/device.js';
import { learnTokenizer } from '../../plugins/models/clip/learn-tokenizer.js';
import { tinyAutoencoder } from './pipelines.js';

const tokenizer = learnTokenizer(['red', 'blue', 'cat'], 6);

/** Counts how often a tensor is turned from single into half precision or back, until it is asked. */
export function countConversions(): () => number {
  const { pipelines } = deviceOf<WebGPUDevice>(tf.backend());
  let count = 0;
  pipelines.get = (key) => {
    if (/^to(Half|Full)/.test(key)) count++;
    return Map.prototype.get.call(pipelines, key);
  };
  return () => {
    Reflect.deleteProperty(pipelines, 'get');
    return count;
  };
}

/** Counts TensorFlow.js's own kernels that meet half precision, and are given float32 copies, until it is asked. */
export function countWidened(): () => number {
  const { backend, entryOf } = deviceOf<WebGPUDevice>(tf.backend());
  const { recordAndSubmit } = backend;
  let count = 0;
  backend.recordAndSubmit = (program, output, inputs, uniforms) => {
    if (inputs.some((input) => entryOf.call({ backend }, input).half)) count++;
    recordAndSubmit(program, output, inputs, uniforms);
  };
  return () => {
    backend.recordAndSubmit = recordAndSubmit;
    return count;
  };
}

/** A small text-to-image model whose channels fill whole vectors: the fewest shaders that have all of a denoiser's parts. */
export const smallDiffusion = {
  unet: {
    sample_size: 8,
    in_channels: 4,
    out_channels: 4,
    block_out_channels: [16, 32],
    layers_per_block: 1,
    down_block_types: ['DownBlock2D', 'DownBlock2D'] as 'DownBlock2D'[],
    up_block_types: ['UpBlock2D', 'UpBlock2D'] as 'UpBlock2D'[],
    cross_attention_dim: 16,
    attention_head_dim: 4,
    norm_num_groups: 4,
  },
  textEncoder: {
    vocab_size: tokenizer.size,
    hidden_size: 16,
    intermediate_size: 32,
    num_hidden_layers: 1,
    num_attention_heads: 2,
    max_position_embeddings: 6,
  },
  tokenizer,
  noise: { beta_schedule: 'squaredcos_cap_v2' as const, prediction_type: 'v_prediction' as const },
  vae: tinyAutoencoder,
};
