import { join } from 'node:path';
import type { Files } from './files.js';
import { folder } from './folder.js';

/** Where a plugin writes that takes a folder, in which it names what it makes itself, or files that are that place already. */
export const placeIn = (into: string | Files, name = ''): Files => (typeof into === 'string' ? folder(join(into, name)) : into);
