import { fail } from '../../../../core/index.js';
import type { StoredTensor } from '../stored-tensors.js';

/** Says that a tensor has no place in a single file. */
export const homeless = (name: string, { where }: StoredTensor): never =>
  fail('WEIGHTS_MISMATCH', 'single-file', `${name} (${where}) has no place in a single file`, 'Save the model as a folder.');
