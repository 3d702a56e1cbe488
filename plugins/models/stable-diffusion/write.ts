import type { Tensors } from '../../../core/index.js';
import type { Files } from '../../persist/formats/files.js';
import { writeSafetensorsTo } from '../../persist/formats/safetensors.js';
import { weightsStem } from './components.js';
import type { Joined } from './join.js';
import { weightsToWrite } from './weights-to-write.js';

/** Options of transformers that must not be whole numbers in its eyes: it refuses 1 where it expects 1.0, which are the same here. */
const FLOATS = /^( *"(?:initializer_factor|initializer_range|layer_norm_eps)": \d+)(?=,?$)/gm;

/** What JSON has no word for (Python's infinities) is left out: it is a default there. */
const json = (value: object): string => {
  const finite = (_: string, one: unknown) => (one === Number.POSITIVE_INFINITY || one === Number.NEGATIVE_INFINITY ? undefined : one);
  return `${JSON.stringify(value, finite, 2).replace(FLOATS, '$1.0')}\n`;
};

const VERSION = { _diffusers_version: '0.42.1' };

/** Writes a model in diffusers' folder layout with these weights; as float16 where `half` is set. */
export async function writeComponents(files: Files, weights: Tensors, joined: Joined, half: boolean): Promise<void> {
  const { components, networks } = joined;
  for (const [name, { config, specs }] of networks) {
    await files.write(`${name}/config.json`, json(configOf(name, config, joined, half)));
    const tensors = weightsToWrite(weights, specs, (path) => nameInFile(name, path));
    await writeSafetensorsTo(files, `${name}/${weightsStem(name)}.safetensors`, tensors, { half });
  }
  await files.write('scheduler/scheduler_config.json', json({ _class_name: schedulerOf(joined), ...VERSION, ...components.noise }));
  await files.write('model_index.json', json(indexOf(joined)));
  for (const [i, { tokenizer }] of components.family.encoders.entries()) await components.encoders[i].tokenizer.save(files, tokenizer);
}

const schedulerOf = ({ components: { noise } }: Joined): string => noise._class_name ?? 'DDIMScheduler';

/** A tensor's name in the file of its network. */
const nameInFile = (network: string, path: string): string => {
  const name = path.slice(network.length + 1);
  // As transformers before 5 reads it; later ones read both.
  return network.startsWith('text_encoder') && !name.startsWith('text_projection') ? `text_model.${name}` : name;
};

function configOf(name: string, config: object, { components: { family, encoders }, unet }: Joined, half: boolean): object {
  if (name === 'vae') return { _class_name: 'AutoencoderKL', ...VERSION, ...config };
  if (name === 'unet') return { _class_name: 'UNet2DConditionModel', ...VERSION, ...unet.config, ...config };
  const dtype = half ? 'float16' : 'float32';
  const i = family.encoders.findIndex(({ folder }) => folder === name);
  const [begin, end, padding] = encoders[i].tokenizer.encode('');
  return {
    architectures: [family.encoders[i].kind],
    model_type: 'clip_text_model',
    bos_token_id: begin,
    eos_token_id: end,
    pad_token_id: padding,
    ...config,
    // transformers before 4.56 calls it torch_dtype.
    ...('torch_dtype' in config ? { torch_dtype: dtype } : { dtype }),
  };
}

/** A part of a pipeline, as a model_index.json names it. */
const isPart = (value: unknown): value is readonly [library: string | null, kind: string | null] =>
  Array.isArray(value) && value.length === 2;

/** The model_index.json of what is written. */
function indexOf(joined: Joined): object {
  const { family, index = {} } = joined.components;
  const given = (part: string, otherwise: readonly [string, string]) => (isPart(index[part]) ? index[part] : otherwise);
  return {
    _class_name: family.pipelines[0],
    ...VERSION,
    ...index,
    ...Object.fromEntries(leftOut(joined).map((part) => [part, [null, null]])),
    ...(isPart(index.safety_checker) ? { requires_safety_checker: false } : {}),
    scheduler: given('scheduler', ['diffusers', schedulerOf(joined)]),
    ...Object.fromEntries(
      family.encoders.flatMap(({ folder, tokenizer, kind }) => [
        [folder, given(folder, ['transformers', kind])],
        [tokenizer, given(tokenizer, ['transformers', 'CLIPTokenizer'])],
      ]),
    ),
    unet: given('unet', ['diffusers', 'UNet2DConditionModel']),
    vae: ['diffusers', 'AutoencoderKL'],
  };
}

/** Parts of a model's pipeline that are not read, and so not written: a safety checker, say. Without them it draws the same. */
export function leftOut({ components: { index = {}, family } }: Joined): string[] {
  const written = new Set(['scheduler', 'unet', 'vae', ...family.encoders.flatMap(({ folder, tokenizer }) => [folder, tokenizer])]);
  return Object.entries(index).flatMap(([part, value]) => (isPart(value) && value[1] !== null && !written.has(part) ? [part] : []));
}
