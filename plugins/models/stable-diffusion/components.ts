import type { TensorData } from '../../../core/index.js';
import type { Tokenizer } from '../clip/tokenizer.js';
import type { NoiseConfig } from './noise-schedule.js';

/** Where a folder in diffusers' layout has its weights. */
export const WEIGHTS = { unet: 'unet/diffusion_pytorch_model.safetensors', text: 'text_encoder/model.safetensors' } as const;

/** What a text-to-image model is made of: configurations, tokenizer, and weights where it is not a new one. */
export interface Components {
  /** How messages name the model. */
  readonly where: string;
  /** As unet/config.json and text_encoder/config.json have them. */
  readonly unet: object;
  readonly text: object;
  readonly tokenizer: Tokenizer;
  readonly noise: NoiseConfig;
  /** Side of a block of pixels that becomes one latent pixel. */
  readonly block: number;
  /** Standard deviations the embeddings of a new model start with. */
  readonly textStart?: { readonly token?: number; readonly position?: number };
  /** In PyTorch's layout, by the model's paths. */
  readonly tensors?: Readonly<Record<keyof typeof WEIGHTS, ReadonlyMap<string, TensorData>>>;
}
