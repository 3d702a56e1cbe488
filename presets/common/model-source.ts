import { statSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { basename, dirname, extname, join } from 'node:path';
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { fail, printable } from '../../core/index.js';
import { rankFromEnvironment } from '../../plugins/distributed/mpi/environment.js';
import type { TextToImageModelOptions } from '../../plugins/models/stable-diffusion/build.js';
import { pictureSizes } from '../../plugins/models/stable-diffusion/picture-sizes.js';
import type { FileOf, ReadOptions } from '../../plugins/models/stable-diffusion/read.js';
import type { SingleFileModel } from '../../plugins/models/stable-diffusion/single-file.js';
import type { Files } from '../../plugins/persist/formats/files.js';
import { folder } from '../../plugins/persist/formats/folder.js';
import { hub, isHubName } from '../../plugins/persist/formats/hub.js';
import { refusePickle } from '../../plugins/persist/formats/pickle.js';
import type { OptionValues, sourceOptions, weightsOptions } from './options.js';
import { emojiBaseFolder, packageRoot } from './package-root.js';

type WeightsOptions = OptionValues<typeof weightsOptions>;
export type SourceOptions = OptionValues<typeof sourceOptions>;

/** The merges of CLIP's tokenizer, which come with the package. */
export const clipMerges = async (): Promise<string[]> => {
  const bytes = await promisify(gunzip)(await readFile(join(packageRoot(), 'presets', 'clip', 'merges.txt.gz')));
  return bytes.toString('utf8').trimEnd().split('\n');
};

const isFolder = (path: string): boolean => statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;

/** Where files are: a folder, one .safetensors file, or a repository of the hub; BAD_SAFETENSORS for pickle files. */
function filesOf(path: string, revision?: string): Files | FileOf {
  if (isFolder(path)) return folder(path);
  refusePickle(path, 'text-to-image-model');
  if (extname(path).toLowerCase() === '.safetensors') return { files: folder(dirname(path)), path: basename(path) };
  return isHubName(path) ? hub(path, { revision, note: sayOnce }) : folder(path);
}

/** One process speaks for all. */
export const sayOnce = (what: string): void => {
  if ((rankFromEnvironment()?.rank ?? 0) === 0) console.error(printable(what));
};

/** What the options say of a model's source, for textToImageModel and whoever looks at its configurations. */
export function modelSource(
  o: WeightsOptions & Partial<SourceOptions>,
): Pick<TextToImageModelOptions, 'clipSkip' | 'longCaptions'> & ReadOptions & { readonly from: Files | SingleFileModel } {
  const from = filesOf(o.pretrainedModelNameOrPath ?? emojiBaseFolder(), o.revision);
  return {
    from: 'path' in from ? { ...from, merges: clipMerges } : from,
    ...(o.pretrainedVaeModelNameOrPath === undefined ? {} : { vae: filesOf(o.pretrainedVaeModelNameOrPath) }),
    ...(o.variant === undefined ? {} : { variant: o.variant }),
    ...(o.predictionType === undefined ? {} : { predictionType: o.predictionType }),
    ...(o.clipSkip === undefined ? {} : { clipSkip: o.clipSkip }),
    ...(o.longCaptions === undefined ? {} : { longCaptions: o.longCaptions }),
  };
}

/** The side of the images to train on, in pixels: what is wanted if the model can work on it, else what it was made for. */
export async function resolutionFor(o: SourceOptions & { readonly resolution?: number | undefined }): Promise<number> {
  const { from, ...options } = modelSource(o);
  const { factor, usual } = await pictureSizes(from, options);
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
