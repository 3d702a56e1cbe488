import * as tf from '@tensorflow/tfjs';
import { z } from 'zod';
import type { Context, Tensor } from '../../../core/index.js';
import { gelu, quickGelu } from '../../devices/compute/activations.js';
import { attention } from '../../devices/compute/attention.js';
import { embedding } from '../../devices/compute/linear.js';
import { Builder, normal } from '../layers/builder.js';
import { parseConfig } from '../layers/parse-config.js';

const activations = { quick_gelu: quickGelu, gelu } as const;

/** The options of transformers' CLIPTextConfig that matter to the computation. Others of its file are notes. */
const schema = z.object({
  vocab_size: z
    .number()
    .int()
    .positive()
    .max(1 << 20)
    .default(49408),
  hidden_size: z
    .number()
    .int()
    .positive()
    .max(1 << 14)
    .default(512),
  intermediate_size: z
    .number()
    .int()
    .positive()
    .max(1 << 16)
    .default(2048),
  num_hidden_layers: z.number().int().nonnegative().max(128).default(12),
  num_attention_heads: z.number().int().positive().max(256).default(8),
  max_position_embeddings: z
    .number()
    .int()
    .positive()
    .max(1 << 12)
    .default(77),
  hidden_act: z.enum(['quick_gelu', 'gelu']).default('quick_gelu'),
  layer_norm_eps: z.number().positive().default(1e-5),
  attention_dropout: z.literal(0, 'only 0 is supported').default(0),
  dropout: z.literal(0, 'only 0 is supported').default(0),
  initializer_range: z.number().positive().default(0.02),
  initializer_factor: z.number().positive().default(1),
  model_type: z.literal('clip_text_model', 'only "clip_text_model" is supported').default('clip_text_model'),
});

export type CLIPTextConfig = z.input<typeof schema>;

/** transformers' CLIPTextModel under its parameter names (without `text_model.`): int32 ids [n, l] to states [n, l, hidden_size]. */
export function clipText(json: object, prefix = 'text_encoder.', start: { token?: number; position?: number } = {}) {
  const config = parseConfig(schema, json, 'model', 'text_encoder/config.json');
  const { hidden_size: size, layer_norm_eps: epsilon } = config;
  const usual = config.initializer_factor * 0.02;
  const build = new Builder(prefix);
  const token = build.weight('embeddings.token_embedding.weight', [config.vocab_size, size], 'plain', normal(start.token ?? usual));
  const position = build.weight(
    'embeddings.position_embedding.weight',
    [config.max_position_embeddings, size],
    'plain',
    normal(start.position ?? usual),
  );
  const layers = Array.from({ length: config.num_hidden_layers }, (_, i) => {
    const path = `encoder.layers.${i}`;
    const [q, k, v, out] = ['q_proj', 'k_proj', 'v_proj', 'out_proj'].map((name) => build.linear(`${path}.self_attn.${name}`, size, size));
    return {
      norm1: build.layerNorm(`${path}.layer_norm1`, size, epsilon),
      norm2: build.layerNorm(`${path}.layer_norm2`, size, epsilon),
      q,
      k,
      v,
      out,
      fc1: build.linear(`${path}.mlp.fc1`, size, config.intermediate_size),
      fc2: build.linear(`${path}.mlp.fc2`, config.intermediate_size, size),
    };
  });
  const final = build.layerNorm('final_layer_norm', size, epsilon);
  const activate = activations[config.hidden_act];

  return {
    config,
    specs: build.specs,
    modules: build.modules,
    forward(context: Context, ids: Tensor): Tensor {
      const length = ids.shape[1] as number;
      let x = embedding(context.parameters[token], ids).add(context.parameters[position].slice([0, 0], [length, size]));
      const mask = layers.length > 0 ? causalMask(length) : undefined;
      for (const layer of layers) {
        const h = layer.norm1(context, x);
        x = x.add(
          layer.out(context, attention(layer.q(context, h), layer.k(context, h), layer.v(context, h), config.num_attention_heads, mask)),
        );
        x = x.add(layer.fc2(context, activate(layer.fc1(context, layer.norm2(context, x)))));
      }
      return final(context, x);
    },
  };
}

/** 0 on and below the diagonal, -1e9 above: each token sees itself and those before it. */
function causalMask(length: number): Tensor {
  const mask = new Float32Array(length * length);
  for (let i = 0; i < length; i++) mask.fill(-1e9, i * length + i + 1, (i + 1) * length);
  return tf.tensor2d(mask, [length, length]);
}
