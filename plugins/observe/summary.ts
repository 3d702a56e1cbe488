import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { FinishedRecord, Host, State } from '../../core/index.js';
import { writeAtomically } from '../persist/formats/atomic-file.js';
import { lossChart } from './charts/loss-chart.js';

/** What the chart shows of a record. */
const shown = ({ step, loss, learningRate }: FinishedRecord): FinishedRecord => ({ step, loss, learningRate });

/** Draws loss and learning rate over the steps into plot.png when the run ends, from its very beginning where it was resumed. Needs Node. */
export const summary = (outputDir: string) => {
  let records: FinishedRecord[] = [];
  return {
    name: 'summary',
    apply({ hooks, isFirstRank, wrote }: Host) {
      hooks.onStart.tapPromise(async () => {
        if (isFirstRank()) await mkdir(outputDir, { recursive: true });
      });
      hooks.onRecord.tap((record) => {
        if (typeof record.loss === 'number') records.push(shown(record));
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
