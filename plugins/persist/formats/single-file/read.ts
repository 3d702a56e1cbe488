import type { Files } from '../files.js';
import type { Family } from '../lora/family.js';
import { saysEpsilon, saysVPrediction } from '../lora/model-metadata.js';
import { openSafetensors } from '../safetensors.js';
import type { StoredTensors } from '../stored-tensors.js';
import { todaysName } from '../todays-names.js';
import { ENCODERS, familyOfSingleFile, UNET, VAES } from './family.js';
import { clipFromSingleFile, openClipFromSingleFile } from './text-encoders.js';
import { unetFromSingleFile } from './unet.js';
import { vaeFromSingleFile } from './vae.js';

/** The networks of a model, each under diffusers' names without prefix. */
export interface SingleFileParts {
  readonly family: Family;
  readonly unet: StoredTensors;
  /** Empty where the file has none. */
  readonly vae: StoredTensors;
  /** One for each of the family's: CLIP-L, OpenCLIP-H, or CLIP-L and OpenCLIP-bigG. */
  readonly encoders: readonly StoredTensors[];
}

/** What a single file says beside its weights. */
export interface SingleFile extends SingleFileParts {
  /** What the denoiser predicts, and whether the last step has no signal, where the file says so: by entries that some programs add, or by ModelSpec. Most are silent. */
  readonly predicts: 'v_prediction' | 'epsilon' | undefined;
  readonly zeroSnr: boolean;
}

/** Buffers of training, which are no weights: of the schedule of noise, of averages, of an autoencoder's loss. */
const BUFFERS =
  /^(model_ema\.|((model|denoiser)\.)?(betas|alphas\w*|sqrt_\w+|log_one_minus_\w+|posterior_\w+|lvlb_weights|logvar|scale_factor|(log_)?sigmas)$|(first_stage_model|vae)\.(loss|model_ema)\.)/;
/** Entries by which files say, to ComfyUI and others, what else cannot be seen. */
export const MARKS = { predictsV: 'v_pred', zeroSnr: 'ztsnr' } as const;

/** The tensors behind a prefix, without it. */
const behind = (tensors: StoredTensors, prefix: string): StoredTensors =>
  new Map([...tensors].flatMap(([name, stored]) => (name.startsWith(prefix) ? [[name.slice(prefix.length), stored]] : [])));

/**
 * Opens one .safetensors file that holds a whole model of Stable Diffusion 1, 2 or XL under CompVis's or Stability's names. Averages (model_ema) and
 * buffers of training are left out; `note` is told of averages and of whatever belongs to no network. UNSUPPORTED_MODEL, by name, for other files.
 */
export async function openSingleFile(files: Files, path: string, { note }: { note?: (what: string) => void } = {}): Promise<SingleFile> {
  const { tensors: all, metadata } = await openSafetensors(files, path);
  const where = `${files.where}/${path}`;
  const family = familyOfSingleFile(all, where);
  const tensors: StoredTensors = new Map([...all].filter(([name]) => !BUFFERS.test(name)));
  const marks: readonly string[] = Object.values(MARKS);
  const strange = [...tensors.keys()].filter(
    (name) => ![UNET, ...VAES, ...ENCODERS[family], ...marks].some((prefix) => name.startsWith(prefix)),
  );
  if ([...all.keys()].some((name) => name.startsWith('model_ema.'))) note?.(`${where} holds averages too (model_ema), which are left out`);
  if (strange.length > 0)
    note?.(
      `${where}: ${strange.slice(0, 4).join(', ')}${strange.length > 4 ? `, ... (${strange.length})` : ''} belong to no network and are left out`,
    );
  const vae = VAES.find((prefix) => [...tensors.keys()].some((name) => name.startsWith(prefix)));
  return {
    family,
    unet: unetFromSingleFile(behind(tensors, UNET)),
    vae: vae ? vaeFromSingleFile(behind(tensors, vae)) : new Map(),
    encoders: ENCODERS[family].map((prefix) => {
      const encoder = behind(tensors, prefix);
      return prefix.endsWith('transformer.') ? clipFromSingleFile(encoder) : openClipFromSingleFile(encoder, family === 'sdxl');
    }),
    predicts: all.has(MARKS.predictsV) || saysVPrediction(metadata) ? 'v_prediction' : saysEpsilon(metadata) ? 'epsilon' : undefined,
    zeroSnr: all.has(MARKS.zeroSnr),
  };
}

/** Opens an autoencoder's own .safetensors file, under diffusers' names or those of single files, with their prefix or without; or takes that of a whole single file. */
export async function openVaeFile(files: Files, path: string): Promise<StoredTensors> {
  const { tensors: all } = await openSafetensors(files, path);
  const prefix = VAES.find((one) => [...all.keys()].some((name) => name.startsWith(one))) ?? '';
  const tensors = [...vaeFromSingleFile(behind(all, prefix))].filter(([name]) => !/^(loss|model_ema)\./.test(name));
  return new Map(tensors.map(([name, stored]) => [todaysName(name) ?? name, stored]));
}
