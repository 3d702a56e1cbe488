import { fail } from '../../../core/index.js';
import type { Files } from './files.js';

/** A page has no folders. */
export const placeIn = (into: string | Files): Files =>
  typeof into === 'string' ? fail('OPTION_INVALID', 'files', `a page has no folder ${into}`, 'Give files: inMemory(), say.') : into;
