import { z } from 'zod';
import { type Context, fail, type ModuleFacts, type Tensor } from '../../../core/index.js';
import * as tf from '../../../core/tf.js';
import { gelu, quickGelu } from '../../devices/compute/activations.js';
import { attention } from '../../devices/compute/attention.js';
import { embedding } from '../../devices/compute/dense.js';
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
  projection_dim: z
    .number()
    .int()
    .positive()
    .max(1 << 14)
    .default(512),
  eos_token_id: z.union([z.number().int(), z.array(z.number().int()).min(1)]).default(49407),
  model_type: z.literal('clip_text_model', 'only "clip_text_model" is supported').default('clip_text_model'),
});

export type CLIPTextConfig = z.input<typeof schema>;

export interface TextOutputOptions {
  /** Layers at the end that the states do not pass through: 0 gives the last layer's, 1 the penultimate (hidden_states[-2]). 0 if left out. */
  readonly skip?: number;
  /** Whether the final norm is applied to the states. True if left out. */
  readonly normalized?: boolean;
  /** Whether the pooled state is wanted too. */
  readonly pooled?: boolean;
}

export interface TextOutputs {
  /** [n, l, hidden_size]. */
  readonly states: Tensor;
  /** The last layer's state, with the final norm, where the text ends; projected to [n, projection_dim] where the encoder has a projection. */
  readonly pooled?: Tensor;
}

/** A config without its nulls, for which defaults stand. */
const withoutNulls = (json: object): object => Object.fromEntries(Object.entries(json).filter(([, value]) => value !== null));

/**
 * transformers' CLIPTextModel under its parameter names (without `text_model.`): int32 ids [n, l] to states [n, l, hidden_size]. `projection` makes it
 * a CLIPTextModelWithProjection; if left out, the config's `architectures` say whether it is one.
 */
export function clipText(
  json: object,
  prefix = 'text_encoder.',
  start: { token?: number; position?: number } = {},
  projection = (json as { architectures?: readonly string[] | null }).architectures?.[0] === 'CLIPTextModelWithProjection',
) {
  const config = parseConfig(schema, withoutNulls(json), 'model', 'text_encoder/config.json');
  const { hidden_size: size, layer_norm_eps: epsilon } = config;
  const usual = config.initializer_factor * 0.02;
  const build = new Builder(prefix);
  const activate = activations[config.hidden_act];
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
    const [norm1, norm2] = [1, 2].map((n) => build.layerNorm(`${path}.layer_norm${n}`, size, epsilon));
    const fc1 = build.linear(`${path}.mlp.fc1`, size, config.intermediate_size);
    const fc2 = build.linear(`${path}.mlp.fc2`, config.intermediate_size, size);
    return build.block(path, (context: Context, x: Tensor, mask: Tensor) => {
      const normed = norm1(context, x);
      const attended = attention(q(context, normed), k(context, normed), v(context, normed), config.num_attention_heads, mask);
      const h = out(context, attended, x);
      return fc2(context, activate(fc1(context, norm2(context, h))), h);
    });
  });
  const final = build.layerNorm('final_layer_norm', size, epsilon);

  const project = projection ? build.linear('text_projection', size, config.projection_dim, false) : null;

  /** The states after so many layers, starting from the states after `done` of them. */
  function through(context: Context, x: Tensor, done: number, upTo: number): Tensor {
    if (upTo === done) return x;
    const mask = causalMask(x.shape[1] as number);
    let h = x;
    for (const layer of layers.slice(done, upTo)) h = layer(context, h, mask);
    return h;
  }

  const embedded = (context: Context, ids: Tensor): Tensor =>
    embedding(context.parameters[token], ids).add(context.parameters[position].slice([0, 0], [ids.shape[1] as number, size]));

  /** Where a text ends. An eos_token_id of 2 is a mistake of old files, for which transformers takes the largest id. */
  function endOf(ids: ArrayLike<number>): number {
    const all = Array.from(ids);
    const ends = config.eos_token_id;
    if (ends === 2) return all.indexOf(Math.max(...all));
    return Math.max(0, all.indexOf(typeof ends === 'number' ? ends : ends[0]));
  }

  /** Whether nothing depends on what stands at a path, where `outputs` is asked for nothing but this. */
  function isIdle(path: string, { skip = 0, normalized = true, pooled = false }: TextOutputOptions = {}): boolean {
    if (pooled) return false;
    const idle = [`${prefix}text_projection`, ...(normalized ? [] : [`${prefix}final_layer_norm`])];
    for (let i = layers.length - skip; i < layers.length; i++) idle.push(`${prefix}encoder.layers.${i}.`);
    return idle.some((start) => path.startsWith(start));
  }

  return {
    config,
    specs: build.specs,
    modules: build.modules,
    blocks: build.blocks,
    /** The modules, where `outputs` is asked for nothing but this: some may be unused then. */
    modulesFor(options?: TextOutputOptions): Map<string, ModuleFacts> {
      return new Map([...build.modules].map(([path, facts]) => [path, isIdle(path, options) ? { ...facts, unused: true } : facts]));
    },
    isIdle,
    /** The last layer's states, with the final norm. */
    forward: (context: Context, ids: Tensor): Tensor => final(context, through(context, embedded(context, ids), 0, layers.length)),
    /** The states that a family of models asks for, of ids on the host; all of one length. */
    outputs(
      context: Context,
      ids: readonly ArrayLike<number>[],
      { skip = 0, normalized = true, pooled = false }: TextOutputOptions = {},
    ): TextOutputs {
      if (!(Number.isInteger(skip) && skip >= 0 && skip <= layers.length))
        fail('OPTION_INVALID', 'model', `clip skip leaves out ${skip} of ${layers.length} layers`, 'Give a smaller number.');
      const length = ids[0].length;
      const flat = new Int32Array(ids.length * length);
      for (const [i, row] of ids.entries()) flat.set(Array.from(row), i * length);
      const upTo = layers.length - skip;
      const reached = through(context, embedded(context, tf.tensor2d(flat, [ids.length, length], 'int32')), 0, upTo);
      const states = normalized ? final(context, reached) : reached;
      if (!pooled) return { states };
      const last = final(context, through(context, reached, upTo, layers.length));
      const ends = tf.tensor1d(
        ids.map((row, i) => i * length + endOf(row)),
        'int32',
      );
      const pool = embedding(last.reshape([ids.length * length, size]), ends);
      return { states, pooled: project ? project(context, pool) : pool };
    },
  };
}

/** 0 on and below the diagonal, -1e9 above: each token sees itself and those before it. */
function causalMask(length: number): Tensor {
  const mask = new Float32Array(length * length);
  for (let i = 0; i < length; i++) mask.fill(-1e9, i * length + i + 1, (i + 1) * length);
  return tf.tensor2d(mask, [length, length]);
}
