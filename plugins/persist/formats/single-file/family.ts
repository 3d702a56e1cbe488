import { fail } from '../../../../core/index.js';
import type { Family } from '../lora/family.js';
import type { StoredTensors } from '../stored-tensors.js';

export const UNET = 'model.diffusion_model.';
/** An autoencoder stands behind one of these. */
export const VAES = ['first_stage_model.', 'vae.'];
/** Where a family has its text encoders. */
export const ENCODERS: Readonly<Record<Family, readonly string[]>> = {
  sd1: ['cond_stage_model.transformer.'],
  sd2: ['cond_stage_model.model.'],
  sdxl: ['conditioner.embedders.0.transformer.', 'conditioner.embedders.1.model.'],
};

/** Models of other architectures, by a name that only they have. */
const OTHER_MODELS: readonly (readonly [RegExp, string])[] = [
  [/^(model\.diffusion_model\.)?joint_blocks\./, 'a model of Stable Diffusion 3'],
  [/^(model\.diffusion_model\.)?(double_blocks|double_layers|distilled_guidance_layer)\./, 'a model of Flux or a kin of it'],
  [/^(control_model|input_hint_block|controlnet_cond_embedding|controlnet_down_blocks)\./, 'a ControlNet'],
  [/^conditioner\.embedders\.0\.model\./, 'a refiner of SDXL'],
  [/^edm_(mean|std)$/, 'a model of Playground 2.5'],
  [/^(embedder|noise_augmentor)\./, 'a model of Stable unCLIP'],
  [/\.time_stack\.|\.motion_modules\.|\.temporal_transformer\./, 'a model of video'],
  [/^(clip_txt_mapper|effnet_mapper)\./, 'a model of Stable Cascade'],
];
/** What a file is that holds no whole model. */
const PARTS: readonly (readonly [RegExp, string])[] = [
  [
    /^lora_|\.lora_(up|down|[AB])\.|\.lora(_linear_layer)?\.(up|down)\.|\.hada_w1|\.lokr_w1|\.dora_scale/,
    'an adapter (LoRA or a kin of it), no model: give it with --lora',
  ],
  [/^(string_to_param|emb_params|clip_[lg]$)/, 'a textual inversion, no model'],
  [
    /^(down_blocks\.0\.|mid_block\.)/,
    'a denoiser alone, under diffusers’ names: put it into a model’s folder, as unet/diffusion_pytorch_model.safetensors',
  ],
  [/^(encoder\.(conv_in|down)|decoder\.(conv_in|up))/, 'an autoencoder alone'],
  [/^(text_model\.|embeddings\.|transformer\.resblocks\.)/, 'a text encoder alone'],
];

/** What denoisers with other inputs than 4 channels are for. */
const INPUTS: Readonly<Record<number, string>> = { 5: 'of depth', 7: 'for upscaling', 8: 'for edits by instruction', 9: 'for inpainting' };

/** The family of a single file under CompVis's or Stability's names; UNSUPPORTED_MODEL, by name, for any other file. */
export function familyOfSingleFile(tensors: StoredTensors, where: string): Family {
  const refuse = (what: string): never =>
    fail('UNSUPPORTED_MODEL', 'single-file', `${where} is ${what}`, 'Single files of Stable Diffusion 1, 2 and XL are read.');
  const names = [...tensors.keys()];
  const begins = (prefix: string) => names.some((name) => name.startsWith(prefix));
  const first = tensors.get(`${UNET}input_blocks.0.0.weight`);
  // A whole model may have remains of others in it.
  for (const [pattern, what] of first ? OTHER_MODELS : [...PARTS.slice(0, 2), ...OTHER_MODELS, ...PARTS])
    if (names.some((name) => pattern.test(name))) refuse(what);
  if (!first) return refuse('no model that is known here');
  const inputs = first.shape[1];
  if (inputs !== 4) refuse(`a model ${INPUTS[inputs] ?? 'of another kind'}: its denoiser takes ${inputs} channels`);
  const family = (['sdxl', 'sd2', 'sd1'] as const).find((one) => begins(ENCODERS[one][ENCODERS[one].length - 1]));
  const absent = family && ENCODERS[family].find((prefix) => !begins(prefix));
  if (absent) refuse(`a model of SDXL without its first text encoder (${absent})`);
  return family ?? refuse('a denoiser without text encoders');
}
