import { fail } from '../../../core/index.js';
import type { Files } from '../../persist/formats/files.js';
import { openSingleFile, type SingleFile } from '../../persist/formats/single-file/read.js';
import type { StoredTensors } from '../../persist/formats/stored-tensors.js';
import type { Components } from './components.js';
import { type Configurations, publishedConfigurations, readConfigurations } from './configurations.js';
import type { PredictionType } from './noise-schedule.js';
import { assemble, type FileOf, type ReadOptions } from './read.js';

/** A model in one .safetensors file, under CompVis's or Stability's names. */
export interface SingleFileModel extends FileOf {
  /** The merges of CLIP's tokenizer, which no such file has. */
  merges(): Promise<readonly string[]>;
  /** A folder in diffusers' layout that says all but the weights, for a model that is not of the shapes of a published one. */
  readonly configurations?: Files;
}

/** Opens a single file: what it holds, and what is said of it. */
async function open(
  { files, path, merges, configurations }: SingleFileModel,
  { predictionType, variant, note }: ReadOptions,
): Promise<{ readonly file: SingleFile; readonly said: Configurations }> {
  const where = `${files.where}/${path}`;
  if (variant !== undefined)
    fail(
      'OPTION_INVALID',
      'text-to-image-model',
      `variant is given, but ${where} is one file`,
      'Leave it out: variants are files of folders.',
    );
  const file = await openSingleFile(files, path, note ? { note } : {});
  const said = configurations ? await readConfigurations(configurations) : null;
  const told: PredictionType | undefined = file.predicts ?? said?.noise.prediction_type ?? (file.family === 'sd2' ? undefined : 'epsilon');
  if (predictionType && file.predicts && predictionType !== file.predicts)
    note?.(`${where} says that it predicts ${file.predicts}: ${predictionType} is used, as is asked for`);
  const predicts = predictionType ?? told;
  if (predicts === undefined)
    return fail(
      'OPTION_MISSING',
      'text-to-image-model',
      `${where} is a Stable Diffusion 2, and does not say what it predicts`,
      'Give predictionType: v_prediction for those of 768 pixels, epsilon for those of 512.',
    );
  const plain = said ?? publishedConfigurations(file.family, predicts, merges);
  const noise = { ...plain.noise, prediction_type: predicts, ...(file.zeroSnr ? { rescale_betas_zero_snr: true } : {}) };
  return { file, said: { ...plain, noise } };
}

/** What is said of a single file: what it leaves out is as in the published model of its family. No weights are read. */
export const configurationsOfSingleFile = async (from: SingleFileModel, options: ReadOptions): Promise<Configurations> =>
  (await open(from, options)).said;

/**
 * The components of a single file. What a model of Stable Diffusion 2 predicts often cannot be seen: OPTION_MISSING where neither the file nor
 * `predictionType` says it.
 */
export async function readSingleFile(from: SingleFileModel, options: ReadOptions = {}): Promise<Components> {
  const { file, said } = await open(from, options);
  const where = `${from.files.where}/${from.path}`;
  if (!options.vae && file.vae.size === 0)
    fail('FILE_MISSING', 'text-to-image-model', `${where} has no autoencoder`, 'Give another model’s (pretrainedVaeModelNameOrPath).');
  const parts = new Map<string, StoredTensors>([
    ['unet', file.unet],
    ['vae', file.vae],
    ...said.family.encoders.map(({ folder }, i): [string, StoredTensors] => [folder, file.encoders[i]]),
  ]);
  return assemble(where, said, (component) => parts.get(component) as StoredTensors, options);
}
