import { fail, type Parameter, type Random } from '../../../core/index.js';
import { clipText } from '../clip/text-encoder.js';
import { makeParameters } from '../layers/parameters.js';
import { unet2DCondition } from '../unet/unet2d-condition.js';
import { type Codec, spaceToDepth } from '../vae/codec.js';
import { type Components, WEIGHTS } from './components.js';
import { type NoiseSchedule, noiseSchedule } from './noise-schedule.js';

/** A model's components, built and found to belong together. */
export interface Joined {
  readonly components: Components;
  readonly unet: ReturnType<typeof unet2DCondition>;
  readonly text: ReturnType<typeof clipText>;
  readonly noise: NoiseSchedule;
  readonly codec: Codec;
}

/** Builds the components; MODEL_PARTS_DIFFER where they are of different models. */
export function joinComponents(components: Components): Joined {
  const unet = unet2DCondition(components.unet);
  const text = clipText(components.text, 'text_encoder.', components.textStart);
  const noise = noiseSchedule(components.noise);
  const codec = spaceToDepth(components.block);
  const differ = (what: string): never => fail('MODEL_PARTS_DIFFER', 'text-to-image-model', what, 'Use components of one model.');
  const width = unet.config.cross_attention_dim;
  const { hidden_size: size, vocab_size: words } = text.config;
  if (size !== (typeof width === 'number' ? width : width[0])) differ(`the text encoder is ${size} wide, the denoiser expects ${width}`);
  if (components.tokenizer.size > words) differ(`the tokenizer has ${components.tokenizer.size} words, the text encoder ${words}`);
  return { components, unet, text, noise, codec };
}

/** The variables of both networks: a file's values, or new ones from the seed. */
export function parametersOf(
  { components: { where, tensors }, unet, text }: Joined,
  train: { readonly unet: boolean; readonly text: boolean },
  random: Random,
): Map<string, Parameter> {
  return new Map([
    ...makeParameters(unet.specs, {
      trainable: train.unet,
      group: 'unet',
      random,
      tensors: tensors?.unet,
      where: `${where}/${WEIGHTS.unet}`,
    }),
    ...makeParameters(text.specs, {
      trainable: train.text,
      group: 'text_encoder',
      random,
      tensors: tensors?.text,
      where: `${where}/${WEIGHTS.text}`,
    }),
  ]);
}
