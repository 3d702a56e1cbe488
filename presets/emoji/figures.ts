import { join } from 'node:path';
import { fail, type Host, type Json, type State } from '../../core/index.js';
import { isTextToImage, type TextToImage } from '../../plugins/models/stable-diffusion/text-to-image.js';
import { writeAtomically } from '../../plugins/persist/formats/atomic-file.js';
import { writeGrid } from '../../plugins/persist/formats/pictures.js';
import type { SampleOptions } from '../../plugins/samplers/walk/sample-options.js';
import { type Drawn, type Figures, type Gallery, judge } from './judge.js';

export interface FiguresOptions {
  readonly outputDir: string;
  readonly captions: readonly string[];
  /** Called once, before they are first needed: rendering takes a while. `onProgress` hears how many are drawn. */
  readonly galleries: (onProgress?: (done: number, of: number) => void) => Promise<readonly Gallery[]>;
  readonly sampling: SampleOptions;
  /** Also before training, to compare. */
  readonly before: boolean;
  /** Told how many icons of the galleries are drawn, and how many steps of the pictures. */
  readonly onProgress?: (done: number, of: number, what: string) => void;
}

/** Pictures whose latents are drawn at once: more would take memory and save no time. */
const DRAWN_AT_ONCE = 12;

/** Judges the model before and after the run, writes grids and figures.json, and hands the figures to `onFigures`. */
export const emojiFigures = ({
  outputDir,
  captions,
  galleries,
  sampling,
  before,
  onProgress,
  onFigures,
}: FiguresOptions & { onFigures?: (before: Figures | null, after: Figures) => void }) => {
  let first: Figures | null = null;
  let known: readonly Gallery[] | undefined;
  return {
    name: 'emoji-figures',
    // What is judged is what is saved.
    after: ['early-stopping'],
    apply(host: Host) {
      const judged = async (model: TextToImage, name: string): Promise<Drawn | null> => {
        // Who stops a run does not wait for icons.
        if (host.stopAsked()) return null;
        known ??= await galleries((done, of) => onProgress?.(done, of, 'icons to compare with'));
        return judge(model, host.weights('sample'), captions, known, {
          batchSize: DRAWN_AT_ONCE,
          ...sampling,
          stop: host.stopAsked,
          onLoss: (done, of) => onProgress?.(done, of, `${name}: losses`),
          onStep: (done, of) => onProgress?.(done, of, `${name}.png: steps`),
        });
      };
      const look = async (name: string): Promise<Drawn | null> => {
        const model = host.model();
        if (!isTextToImage(model))
          return fail('MODEL_UNFIT', 'emoji-figures', 'the model is no text-to-image model', 'Use textToImageModel().');
        const drawn = await judged(model, name);
        if (!drawn) {
          host.warn(`${name}.png is not drawn: a stop was asked for`);
          return null;
        }
        const side = Math.sqrt(drawn.samples[0].length / 3);
        const path = join(outputDir, `${name}.png`);
        await writeGrid(path, drawn.samples, { height: side, width: side }, 12, side < 64 ? 2 : 1);
        host.wrote(path);
        return drawn;
      };
      host.hooks.onStart.tapPromise(async () => {
        // A run that goes on has these from its beginning.
        if (before && host.isFirstRank() && host.startStep() === 0) first = (await look('grid-before'))?.figures ?? null;
      });
      host.hooks.onEnd.tapPromise(async () => {
        if (!host.isFirstRank()) return;
        const last = await look('grid-after');
        if (!last) return;
        const path = join(outputDir, 'figures.json');
        await writeAtomically(path, `${JSON.stringify({ captions, ...(first ? { before: first } : {}), after: last.figures }, null, 2)}\n`);
        host.wrote(path);
        onFigures?.(first, last.figures);
      });
    },
    capture: async (): Promise<State> => ({ before: first as unknown as Json }),
    async restore(state: State) {
      first = state.before as unknown as Figures | null;
    },
  };
};
