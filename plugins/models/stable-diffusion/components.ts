import type { StoredTensors } from '../../persist/formats/stored-tensors.js';
import type { Tokenizer } from '../clip/tokenizer.js';
import type { Family } from './family.js';
import type { NoiseConfig } from './noise-schedule.js';

/** How diffusers' layout calls a component's weights. Text encoders have theirs where transformers writes it. */
export const weightsStem = (component: string): string => (component.startsWith('text_encoder') ? 'model' : 'diffusion_pytorch_model');

/** One network: its config.json, and its weights by the model's paths where it is no new one. */
export interface Network {
  readonly config: object;
  readonly tensors?: StoredTensors;
}

/** What a text-to-image model is made of. */
export interface Components {
  /** How messages name the model. */
  readonly where: string;
  readonly family: Family;
  readonly unet: Network;
  /** One for each of the family's. */
  readonly encoders: readonly (Network & { readonly tokenizer: Tokenizer })[];
  readonly vae: Network;
  /** As scheduler_config.json has it. */
  readonly noise: NoiseConfig;
  /** As model_index.json has it; of a new model none. */
  readonly index?: Readonly<Record<string, unknown>>;
  /** Standard deviations the embeddings of a new model start with. */
  readonly textStart?: { readonly token?: number; readonly position?: number };
}
