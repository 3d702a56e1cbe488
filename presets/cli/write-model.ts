import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { basename, dirname, extname } from 'node:path';
import { fail, weightsOf } from '../../core/index.js';
import type { TextToImage } from '../../plugins/models/stable-diffusion/text-to-image.js';
import { isLeftOver } from '../../plugins/persist/formats/atomic-files.js';
import { folder } from '../../plugins/persist/formats/folder.js';

const holdsSomething = (path: string): Promise<boolean> =>
  readdir(path).then(
    (names) => !names.every(isLeftOver),
    (error: NodeJS.ErrnoException) => error.code !== 'ENOENT',
  );

const isFile = (path: string): boolean => extname(path).toLowerCase() === '.safetensors';

/** Before the work, not after it: refuses a place that holds something already. `fix` says what to do. */
export async function requireFree(command: string, path: string, fix: string): Promise<void> {
  if (isFile(path) ? existsSync(path) : await holdsSomething(path)) fail('OPTION_INVALID', command, `${path} holds something already`, fix);
}

/** Writes a model: as one file where the path ends in .safetensors, else into a folder in diffusers' layout. */
export async function writeModel(model: TextToImage, path: string, half: boolean): Promise<void> {
  if (isFile(path)) await model.saveSingleFile(folder(dirname(path)), basename(path), weightsOf(model), { half });
  else await model.save(folder(path), weightsOf(model), { half });
}
