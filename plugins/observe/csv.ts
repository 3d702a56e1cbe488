import { join } from 'node:path';
import type { Host } from '../../core/index.js';
import { isDue } from './logs/cadence.js';
import { continueLog } from './logs/continue-log.js';
import { type OpenLog, openLog } from './logs/open-log.js';

export interface CsvOptions {
  /** Every so many steps. */
  readonly every?: number;
}

/** The column of the run's id. */
const RUN_COLUMN = 'run';

const cell = (value: unknown): string => {
  const text = value === undefined ? '' : String(value);
  return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
};

/**
 * Writes training's records into log.csv of a folder, as a table (RFC 4180), whose columns are the first record's fields and the run's id. Records without a loss (evaluations) have
 * other fields and are left out. A resumed run goes on in the same table. Needs Node.
 */
export const csv = (folder: string, { every = 10 }: CsvOptions = {}) => {
  const path = join(folder, 'log.csv');
  let file: OpenLog | null = null;
  let columns: string[] | null = null;
  return {
    name: 'csv',
    apply({ hooks, isFirstRank, startStep, runId, wrote, warn }: Host) {
      hooks.onStart.tapPromise(async () => {
        if (!isFirstRank()) return;
        wrote(path);
        file = await openLog('csv', path, 'a', {
          tell: warn,
          ready: async () => {
            const kept = await continueLog(path, {
              step: startStep(),
              runId: runId(),
              // Neither step nor run's id has a comma in it; the id is the last column.
              lineOf: (line, head) => ({
                step: Number(line.split(',')[0]),
                run: head.endsWith(`,${RUN_COLUMN}`) ? line.slice(line.lastIndexOf(',') + 1) : undefined,
              }),
              header: 1,
            });
            if (kept.length > 0) columns = kept[0].split(',');
          },
        });
      });
      hooks.shouldLog.tap((position) => (isFirstRank() && isDue(position, every) ? true : undefined));
      hooks.onRecord.tapPromise(async (record) => {
        if (!file || record.loss === undefined) return;
        if (!columns) {
          columns = [...Object.keys(record), RUN_COLUMN];
          await file.append(`${columns.map(cell).join(',')}\n`);
        }
        await file.append(`${columns.map((name) => cell(name === RUN_COLUMN ? runId() : record[name])).join(',')}\n`);
      });
    },
    async dispose() {
      await file?.close();
      file = null;
    },
  };
};
