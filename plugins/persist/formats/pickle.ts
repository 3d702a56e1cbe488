import { fail } from '../../../core/index.js';

/** The endings of files that hold Python objects: reading them would run what they say. */
export const PICKLES: readonly string[] = ['.bin', '.ckpt', '.pkl', '.pt', '.pth'];

/** Whether a path is that of a pickle file, by its ending. */
export const isPickle = (path: string): boolean => PICKLES.some((ending) => path.toLowerCase().endsWith(ending));

/** BAD_SAFETENSORS where a path is that of a pickle file. */
export function refusePickle(path: string, plugin: string): void {
  if (isPickle(path)) fail('BAD_SAFETENSORS', plugin, `${path} is a pickle file, in which code could be`, 'Give a .safetensors file.');
}
