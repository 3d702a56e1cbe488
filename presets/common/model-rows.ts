import type { Model } from '../../core/index.js';
import { isTextToImage, type TextToImage } from '../../plugins/models/stable-diffusion/text-to-image.js';
import { type Autoencoder, isAutoencoder } from '../../plugins/models/vae/autoencoder.js';
import { FAMILY_NAMES, familyOfModel } from '../../plugins/persist/formats/lora/family.js';
import { emojiBaseFolder } from './package-root.js';

/** Where a model comes from, as the options have it. */
export interface ModelOptions {
  readonly pretrainedModelNameOrPath?: string | undefined;
  readonly pretrainedVaeModelNameOrPath?: string | undefined;
  readonly vaeConfig?: string | undefined;
  readonly resolution?: number | undefined;
}

export const count = (n: number): string => n.toLocaleString('en-US');

/** Names, sizes and words, a row each. */
type Rows = readonly (readonly [string, string])[];

function textToImageRows({ base, codec, latentSize, modules, tokenizer }: TextToImage, o: ModelOptions): Rows {
  const family = familyOfModel(modules);
  const kind = family ? FAMILY_NAMES[family] : 'text to image';
  const own = o.pretrainedModelNameOrPath ?? `the emoji base that comes with the package (${emojiBaseFolder()})`;
  const autoencoder = o.pretrainedVaeModelNameOrPath === undefined ? '' : `, with the autoencoder of ${o.pretrainedVaeModelNameOrPath}`;
  return [
    [
      'model',
      `${kind}${base === 'new' ? ', a new one' : ` from ${own}`}${autoencoder}, at ${o.resolution ?? latentSize * codec.factor} pixels`,
    ],
    // Begin and end are none of a caption's.
    ['words', `${count(tokenizer.size)} tokens in the vocabulary, ${count(tokenizer.length - 2)} of a caption at once`],
  ];
}

function autoencoderRows({ base, channels, factor, usual }: Autoencoder, o: ModelOptions): Rows {
  const of = o.vaeConfig === undefined ? '' : ` of ${o.vaeConfig}`;
  const own = base === 'new' ? `, a new one${of}` : ` from ${o.pretrainedVaeModelNameOrPath}`;
  const side = o.resolution ?? usual;
  const latents = `${channels} channels, ${side === null ? `1/${factor} of a side` : `${side / factor} x ${side / factor}`}`;
  return [['model', `autoencoder${own}${side === null ? '' : `, at ${side} pixels`}; latents of ${latents}`]];
}

/** What a run's first lines say of its model: what it is, where it comes from, and how large pictures, latents and vocabulary are. */
export function modelRows(model: Model, options: ModelOptions): Rows {
  if (isTextToImage(model)) return textToImageRows(model, options);
  if (isAutoencoder(model)) return autoencoderRows(model, options);
  return [['model', 'one of your own']];
}
