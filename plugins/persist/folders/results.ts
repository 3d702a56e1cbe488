import { readdir } from 'node:fs/promises';
import { join } from 'node:path';

/** Where averaged adapters stand in a run's folder. */
export const AVERAGED = 'averaged/';

/** The page of a run's adapters, in the folder of the run: README.md is anybody's name. */
export const CARD_FILE = 'model-card.md';

const names = (folder: string): Promise<string[]> => readdir(folder).catch(() => []);

/** The adapters in a run's folder, by their paths in it. */
export const adaptersIn = async (folder: string): Promise<string[]> =>
  (await Promise.all(['', AVERAGED].map(async (below) => (await names(join(folder, below))).map((name) => below + name))))
    .flat()
    .filter((path) => path.endsWith('.safetensors'))
    .sort();

/** The grids of pictures in a run's folder, the last first. */
export const picturesIn = async (folder: string): Promise<string[]> => {
  const steps = (name: string) => (name === 'grid-after.png' ? Number.POSITIVE_INFINITY : Number(/\d+/.exec(name)?.[0] ?? 0));
  return (await names(folder)).filter((name) => /^grid.*\.png$/.test(name)).sort((a, b) => steps(b) - steps(a) || a.localeCompare(b));
};
