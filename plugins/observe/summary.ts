import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { FinishedRecord, Host, State } from '../../core/index.js';
import { writeAtomically } from '../persist/formats/atomic-file.js';
import { lossChart } from './charts/loss-chart.js';

/** The loss on data that is held out, as evaluations report it. */
const HELD = 'loss.held';

/** What the chart shows of a record; null of one that it does not show. */
function shown({ step, loss, learningRate, [HELD]: held }: FinishedRecord): FinishedRecord | null {
  if (typeof loss === 'number') return { step, loss, learningRate };
  return typeof held === 'number' ? { step, [HELD]: held } : null;
}

/** Draws loss, the held-out loss where there is one, and learning rate over the steps into plot.png when the run ends, from its very beginning where it was resumed. Needs Node. */
export const summary = (outputDir: string) => {
  let records: FinishedRecord[] = [];
  return {
    name: 'summary',
    apply({ hooks, isFirstRank, wrote }: Host) {
      hooks.onStart.tapPromise(async () => {
        if (isFirstRank()) await mkdir(outputDir, { recursive: true });
      });
      hooks.onRecord.tap((record) => {
        const kept = shown(record);
        if (kept) records.push(kept);
      });
      hooks.onEnd.tapPromise(async () => {
        if (!isFirstRank() || records.length < 2) return;
        const path = join(outputDir, 'plot.png');
        await writeAtomically(path, await lossChart(records));
        wrote(path);
      });
    },
    capture: async (): Promise<State> => ({ records: [...records] }),
    async restore(state: State) {
      records = [...(state.records as FinishedRecord[])];
    },
  };
};
