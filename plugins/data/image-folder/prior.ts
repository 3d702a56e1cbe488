import { join } from 'node:path';
import { messageOf, type Problems } from '../../../core/index.js';
import type { Entry } from './entry.js';
import { isImage } from './kinds.js';
import { walk } from './walk.js';

/** Pictures of the class that an instance belongs to, for prior preservation. */
export interface Prior {
  /** Where they are; what is missing of them is drawn there. */
  readonly folder: string;
  /** What each of them shows. */
  readonly caption: string;
  /** How many there are to be. */
  readonly count: number;
}

const DRAWN = /^class-\d+\.png$/;

/**
 * The pictures of a class by their paths: those that somebody has put there, then those that the model draws, whether they are there yet or not. Names
 * of drawn ones do not depend on which of them are there, so that a run that goes on has the same list.
 */
export async function priorPictures({ folder, count }: Omit<Prior, 'caption'>): Promise<{ path: string; isDrawn: boolean }[]> {
  const { files } = await walk(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return { files: [] };
    throw error;
  });
  const own = files.filter((name) => isImage(name) && !DRAWN.test(name)).slice(0, count);
  return [
    ...own.map((name) => ({ path: join(folder, name), isDrawn: false })),
    ...Array.from({ length: count - own.length }, (_, i) => ({ path: join(folder, `class-${i}.png`), isDrawn: true })),
  ];
}

/** The same as entries of a folder. */
export async function priorEntries(prior: Prior, problems: Problems): Promise<Entry[]> {
  try {
    return (await priorPictures(prior)).map(({ path, isDrawn }) => ({ path, caption: prior.caption, prior: { isDrawn } }));
  } catch (error) {
    problems.add('DATA_INVALID', 'image-folder', `${prior.folder}: ${messageOf(error)}`, 'Give a folder for pictures of the class.');
    return [];
  }
}
