import { fail } from '../../../core/index.js';

/** The endings of files that hold Python objects: reading them would run what they say. */
export const PICKLES: readonly string[] = ['.bin', '.ckpt', '.pkl', '.pt', '.pth'];

/** BAD_SAFETENSORS where a path is that of a pickle file, by its ending. */
export function refusePickle(path: string, plugin: string): void {
  if (PICKLES.some((ending) => path.toLowerCase().endsWith(ending)))
    fail('BAD_SAFETENSORS', plugin, `${path} is a pickle file, in which code could be`, 'Give a .safetensors file.');
}
