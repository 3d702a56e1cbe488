import { readFile } from 'node:fs/promises';
import { basename, dirname, extname, join } from 'node:path';
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { fail } from '../../core/index.js';
import type { TextToImageModelOptions } from '../../plugins/models/stable-diffusion/build.js';
import { pictureSizes } from '../../plugins/models/stable-diffusion/picture-sizes.js';
import { folder } from '../../plugins/persist/formats/folder.js';
import type { OptionValues, sourceOptions } from './options.js';
import { emojiBaseFolder, packageRoot } from './package-root.js';

export type SourceOptions = OptionValues<typeof sourceOptions>;

/** The merges of CLIP's tokenizer, which come with the package. */
const merges = async (): Promise<string[]> => {
  const bytes = await promisify(gunzip)(await readFile(join(packageRoot(), 'presets', 'clip', 'merges.txt.gz')));
  return bytes.toString('utf8').trimEnd().split('\n');
};

/** Where a model's files are: a folder, or one file. */
const filesOf = (path: string | undefined) =>
  path !== undefined && /^\.(safetensors|ckpt|pt|pth|bin)$/i.test(extname(path))
    ? { files: folder(dirname(path)), path: basename(path), merges }
    : folder(path ?? emojiBaseFolder());

/** What the options say of a model's source, for textToImageModel. */
export const modelSource = (o: SourceOptions): Omit<TextToImageModelOptions, 'train'> => ({
  from: filesOf(o.pretrainedModelNameOrPath),
  ...(o.pretrainedVaeModelNameOrPath === undefined ? {} : { vae: folder(o.pretrainedVaeModelNameOrPath) }),
  ...(o.variant === undefined ? {} : { variant: o.variant }),
  ...(o.predictionType === undefined ? {} : { predictionType: o.predictionType }),
  clipSkip: o.clipSkip,
  longCaptions: o.longCaptions,
});

/** The side of the images to train on, in pixels: what is wanted if the model can work on it, else what it was made for. */
export async function resolutionFor(o: SourceOptions & { readonly resolution?: number | undefined }): Promise<number> {
  const from = filesOf(o.pretrainedModelNameOrPath);
  const { factor, usual } = await pictureSizes(from);
  const wanted = o.resolution ?? usual;
  if (wanted === null)
    return fail(
      'OPTION_MISSING',
      'resolution',
      `${o.pretrainedModelNameOrPath} does not say which size its pictures have`,
      'Give resolution.',
    );
  if (wanted % factor !== 0)
    fail(
      'OPTION_INVALID',
      'resolution',
      `the model works on blocks of ${factor} x ${factor} pixels, resolution is ${wanted}`,
      `Give a multiple of ${factor}.`,
    );
  return wanted;
}
