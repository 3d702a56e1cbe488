import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { FinishedRecord, Host } from '../../core/index.js';
import { lossChart } from './charts/loss-chart.js';

/** Draws loss and learning rate over the steps into plot.png when the run ends. Needs Node. */
export const summary = (outputDir: string) => {
  const records: FinishedRecord[] = [];
  return {
    name: 'summary',
    apply({ hooks, isFirstRank }: Host) {
      hooks.onStart.tapPromise(async () => {
        if (isFirstRank()) await mkdir(outputDir, { recursive: true });
      });
      hooks.onRecord.tap((record) => {
        if (typeof record.loss === 'number') records.push(record);
      });
      hooks.onEnd.tapPromise(async () => {
        if (isFirstRank() && records.length > 1) await writeFile(join(outputDir, 'plot.png'), await lossChart(records));
      });
    },
  };
};
