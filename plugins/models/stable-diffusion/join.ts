import { fail, Hash, type Parameter, type Random } from '../../../core/index.js';
import { clipText } from '../clip/text-encoder.js';
import type { WeightSpec } from '../layers/builder.js';
import { makeParameters, requireFit } from '../layers/parameters.js';
import { unet2DCondition } from '../unet/unet2d-condition.js';
import { autoencoderKL } from '../vae/autoencoder-kl.js';
import type { Codec } from '../vae/codec.js';
import type { Components, Network } from './components.js';
import { type NoiseSchedule, noiseSchedule } from './noise-schedule.js';

/** A model's components, built and found to belong together. */
export interface Joined {
  readonly components: Components;
  readonly unet: ReturnType<typeof unet2DCondition>;
  readonly encoders: readonly ReturnType<typeof clipText>[];
  readonly noise: NoiseSchedule;
  readonly codec: Codec;
  /** Every network with weights, by the folder that they stand in. */
  readonly networks: ReadonlyMap<string, Network & { readonly specs: readonly WeightSpec[] }>;
}

/** Builds the components; MODEL_PARTS_DIFFER where they are of different models. */
export function joinComponents(components: Components): Joined {
  const { family, vae } = components;
  const unet = unet2DCondition(components.unet.config);
  const encoders = family.encoders.map(({ folder, kind }, i) =>
    clipText(components.encoders[i].config, `${folder}.`, components.textStart, kind === 'CLIPTextModelWithProjection'),
  );
  const autoencoder = autoencoderKL(vae.config);
  const differ = (what: string): never => fail('MODEL_PARTS_DIFFER', 'text-to-image-model', what, 'Use components of one model.');

  const width = [unet.config.cross_attention_dim].flat()[0];
  const size = encoders.reduce((sum, { config }) => sum + config.hidden_size, 0);
  const many = encoders.length > 1 ? 'text encoders are' : 'text encoder is';
  if (size !== width) differ(`the ${many} ${size} wide, the denoiser expects ${unet.config.cross_attention_dim}`);
  for (const [i, { tokenizer }] of components.encoders.entries()) {
    const { vocab_size: words, max_position_embeddings: places } = encoders[i].config;
    const { folder, tokenizer: name } = family.encoders[i];
    if (tokenizer.size > words) differ(`the tokenizer has ${tokenizer.size} words, the text encoder ${words}`);
    if (tokenizer.length > places)
      fail(
        'MODEL_PARTS_DIFFER',
        'text-to-image-model',
        `${components.where}/${name}/tokenizer_config.json has a model_max_length of ${tokenizer.length}, more than the ${places} tokens that ${folder} takes (max_position_embeddings)`,
        `Set model_max_length to ${places}.`,
      );
  }
  const told = unet.config.addition_embed_type === 'text_time';
  if (told !== family.sizes)
    differ(`the denoiser ${told ? 'expects' : 'does not expect'} sizes of pictures (addition_embed_type), unlike ${family.name}`);
  if (autoencoder.config.latent_channels !== unet.config.out_channels)
    differ(`the autoencoder gives ${autoencoder.config.latent_channels} channels, the denoiser ${unet.config.out_channels}`);
  if (unet.config.in_channels !== unet.config.out_channels)
    fail(
      'UNSUPPORTED_MODEL',
      'text-to-image-model',
      `${components.where}: the denoiser takes ${unet.config.in_channels} channels and gives ${unet.config.out_channels}, as for inpainting or upscaling`,
      'Use a text-to-image model.',
    );

  const networks: [string, Network & { specs: readonly WeightSpec[] }][] = [
    ['unet', { ...components.unet, specs: unet.specs }],
    ...family.encoders.map(({ folder }, i): [string, Network & { specs: readonly WeightSpec[] }] => [
      folder,
      { ...components.encoders[i], specs: encoders[i].specs },
    ]),
    ['vae', { ...vae, specs: autoencoder.specs }],
  ];
  // diffusers' pipeline of Stable Diffusion 1 and 2 clips no latents, whatever the file says (DDIM's default clips); that of XL does as the file says.
  const noise = noiseSchedule(family.sizes ? components.noise : { ...components.noise, clip_sample: false });
  return { components, unet, encoders, noise, codec: autoencoder.codec, networks: new Map(networks) };
}

/**
 * The variables of all networks: a file's values, or new ones from the seed. `trained` says what learns; an autoencoder never does. With `half` the
 * matrices that do not learn are stored in half precision, but an autoencoder's, whose numbers are too large for it. `base` tells the values that were read from others: a hash of them in the order of the files, or `new`.
 */
export async function parametersOf(
  { networks }: Joined,
  trained: (network: string, path: string) => boolean,
  random: Random,
  half = false,
): Promise<{ readonly parameters: Map<string, Parameter>; readonly base: string }> {
  for (const { specs, tensors } of networks.values()) if (tensors) requireFit(specs, tensors);
  const all = new Map<string, Parameter>();
  const hash = new Hash();
  try {
    for (const [name, { specs, tensors }] of networks) {
      const made = await makeParameters(specs, {
        trainable: (path) => name !== 'vae' && trained(name, path),
        group: name,
        random,
        half: half && name !== 'vae',
        ...(tensors ? { tensors } : {}),
        hash,
      });
      for (const [path, parameter] of made) all.set(path, parameter);
    }
  } catch (error) {
    for (const { variable } of all.values()) variable.dispose();
    throw error;
  }
  return { parameters: all, base: networks.get('unet')?.tensors ? hash.digest() : 'new' };
}
