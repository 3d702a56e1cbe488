import { fail, type Tensors } from '../../../core/index.js';
import type { Files } from '../../persist/formats/files.js';
import { familyOfModel, type Family as PublishedName } from '../../persist/formats/lora/family.js';
import { modelSpec } from '../../persist/formats/lora/model-metadata.js';
import { type TensorToWrite, writeSafetensorsTo } from '../../persist/formats/safetensors.js';
import { MARKS } from '../../persist/formats/single-file/read.js';
import { toSingleFile } from '../../persist/formats/single-file/write.js';
import type { StoredTensors } from '../../persist/formats/stored-tensors.js';
import { clipText } from '../clip/text-encoder.js';
import { parseUNetConfig } from '../unet/config.js';
import { parseAutoencoderKLConfig } from '../vae/config.js';
import type { Network } from './components.js';
import { zerosForNoText } from './encode-texts.js';
import type { Joined } from './join.js';
import { noiseSchedule } from './noise-schedule.js';
import { publishedModel } from './published-model.js';
import { weightsToWrite } from './weights-to-write.js';

export interface WriteSingleFileOptions {
  /** Write float16. */
  readonly half?: boolean;
  /** Told what whoever reads the file cannot know. */
  readonly note?: (what: string) => void;
}

/**
 * Writes a model into one file, as AUTOMATIC1111 and ComfyUI read it, with what it predicts. UNSUPPORTED_MODEL for models that have no such form: those
 * without an autoencoder, of other families than Stable Diffusion 1, 2 and XL, and those that differ from the published ones in what a file cannot say.
 */
export async function writeSingleFile(
  files: Files,
  path: string,
  weights: Tensors,
  joined: Joined,
  { half = false, note }: WriteSingleFileOptions = {},
): Promise<void> {
  const { components, networks, unet, noise, codec } = joined;
  const family = familyOfModel(new Map([...unet.modules, ...joined.encoders.flatMap(({ modules }) => [...modules])]));
  const stored = (folder: string): StoredTensors => {
    const tensors = weightsToWrite(weights, networks.get(folder)?.specs ?? [], (name) => name.slice(folder.length + 1));
    return new Map(tensors.map(({ name, ...tensor }) => [name, { ...tensor, where: `${components.where}/${folder}` }]));
  };
  const refuse = (what: string): never =>
    fail('UNSUPPORTED_MODEL', 'text-to-image-model', `${components.where} ${what}`, 'Save it as a folder.');
  const vae = networks.get('vae');
  if (!family || !vae) return refuse('is no Stable Diffusion with an autoencoder, and has no form of one file');
  const unsaid = whatNoFileSays(family, vae, joined);
  if (unsaid) refuse(`has ${unsaid}, which one file cannot say`);
  const other = whereOtherwise(family, vae, joined);
  if (other.length > 0)
    note?.(
      `${components.where}: ${other.join(', ')} ${other.length > 1 ? 'are' : 'is'} not configured as in the published models, which one file cannot say: it may not be read elsewhere`,
    );
  const tensors = toSingleFile({
    family,
    unet: stored('unet'),
    vae: stored('vae'),
    encoders: components.family.encoders.map(({ folder }) => stored(folder)),
  });
  const vPrediction = noise.config.prediction_type === 'v_prediction';
  const marks = [...(vPrediction ? [MARKS.predictsV] : []), ...(noise.config.rescale_betas_zero_snr ? [MARKS.zeroSnr] : [])];
  const { sample_size: size } = unet.config;
  const name = path.slice(path.lastIndexOf('/') + 1).replace(/\.safetensors$/i, '');
  const resolution = typeof size === 'number' ? { resolution: size * codec.factor } : {};
  const named = [...tensors].map(([key, { shape, read }]): TensorToWrite => ({ name: key, shape, read }));
  await writeSafetensorsTo(files, path, [...named, ...marks.map(mark)], {
    half,
    metadata: { format: 'pt', ...modelSpec({ family, vPrediction, name, ...resolution }) },
  });
}

/** An entry that says something by being there. */
const mark = (name: string): TensorToWrite => ({
  name,
  shape: [1],
  read: async () => ({ dtype: 'float32', shape: [1], data: Float32Array.of(1) }),
});

/** What would make the file another model to whoever reads it: the scale of latents, the noise, what is predicted. Null where there is nothing. */
function whatNoFileSays(name: PublishedName, vae: Network, { noise }: Joined): string | null {
  const { published } = publishedModel(name);
  const [own, usual] = [vae.config, published.vae].map((config) => parseAutoencoderKLConfig(config));
  for (const option of ['scaling_factor', 'shift_factor', 'latents_mean', 'latents_std'] as const)
    if (JSON.stringify(own[option]) !== JSON.stringify(usual[option])) return `another ${option} than the published models`;
  const { prediction_type: predicts, rescale_betas_zero_snr } = noise.config;
  if (predicts === 'sample') return 'the prediction_type sample';
  const { alphasCumprod } = noiseSchedule({ ...published.noise, rescale_betas_zero_snr });
  const differs = noise.alphasCumprod.length !== alphasCumprod.length || noise.alphasCumprod.some((x, i) => x !== alphasCumprod[i]);
  return differs ? 'another noise schedule than the published models' : null;
}

/** Options that change no weight and no value, or (upcast_attention) hardly any. */
const NOTES = new Set(['sample_size', 'force_upcast', 'upcast_attention', 'initializer_range', 'initializer_factor', 'eos_token_id']);

/** A configuration in words that are the same for configurations that mean the same. */
const inShort = (config: object, without: readonly string[] = []): string =>
  JSON.stringify(
    Object.entries(config)
      .filter(([name, value]) => value !== null && value !== undefined && !NOTES.has(name) && !without.includes(name))
      .map(([name, value]) => [name, Array.isArray(value) && value.every((one) => one === value[0]) ? value[0] : value])
      .sort(),
  );

/** The parts whose configurations are not the published ones, and what no text stands for where that is something else. */
function whereOtherwise(name: PublishedName, vae: Network, { components, unet, encoders }: Joined): string[] {
  const { published } = publishedModel(name);
  const otherEncoders = components.family.encoders.flatMap(({ folder, kind }, i) => {
    const isProjected = kind === 'CLIPTextModelWithProjection';
    const usual = clipText(published.encoders[i], `${folder}.`, {}, isProjected);
    const [own, theirs] = [encoders[i].config, usual.config].map((config) => inShort(config, isProjected ? [] : ['projection_dim']));
    return own === theirs ? [] : [folder];
  });
  return [
    ...(inShort(unet.config) === inShort(parseUNetConfig(published.unet)) ? [] : ['unet']),
    ...otherEncoders,
    ...(inShort(parseAutoencoderKLConfig(vae.config)) === inShort(parseAutoencoderKLConfig(published.vae)) ? [] : ['vae']),
    ...(zerosForNoText(components) === components.family.zerosForNoText ? [] : ['force_zeros_for_empty_prompt']),
  ];
}
