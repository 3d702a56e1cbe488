import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fail, type Host } from '../../core/index.js';
import { isTextToImage } from '../../plugins/models/text-to-image-model.js';
import { writeGrid } from '../../plugins/persist/formats/png.js';
import type { SampleOptions } from '../../plugins/samplers/walk/sample-images.js';
import { SIDE } from './data.js';
import { type Drawn, type Figures, type Gallery, judge } from './judge.js';

export interface FiguresOptions {
  readonly outputDir: string;
  readonly captions: readonly string[];
  /** Called when training starts: rendering takes a second. */
  readonly galleries: () => Promise<readonly Gallery[]>;
  readonly sampling: SampleOptions;
  /** Also before training, to compare. */
  readonly before: boolean;
}

/** Judges the model before and after the run, writes grids and figures.json, and hands the figures to `onFigures`. */
export const emojiFigures = ({
  outputDir,
  captions,
  galleries,
  sampling,
  before,
  onFigures,
}: FiguresOptions & { onFigures?: (before: Figures | null, after: Figures) => void }) => {
  let first: Drawn | null = null;
  return {
    name: 'emoji-figures',
    apply(host: Host) {
      const look = async (name: string): Promise<Drawn> => {
        const model = host.model();
        if (!isTextToImage(model))
          return fail('MODEL_UNFIT', 'emoji-figures', 'the model is no text-to-image model', 'Use textToImageModel().');
        const drawn = await judge(model, host.weights('sample'), captions, await galleries(), sampling);
        await writeGrid(join(outputDir, `${name}.png`), drawn.samples, { height: SIDE, width: SIDE }, 12);
        return drawn;
      };
      host.hooks.onStart.tapPromise(async () => {
        if (before && host.isFirstRank()) first = await look('grid-before');
      });
      host.hooks.onEnd.tapPromise(async () => {
        if (!host.isFirstRank()) return;
        const last = await look('grid-after');
        await mkdir(outputDir, { recursive: true });
        await writeFile(
          join(outputDir, 'figures.json'),
          `${JSON.stringify({ captions, ...(first ? { before: first.figures } : {}), after: last.figures }, null, 2)}\n`,
        );
        onFigures?.(first?.figures ?? null, last.figures);
      });
    },
  };
};
