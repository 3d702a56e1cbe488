import { type FileHandle, readFile } from 'node:fs/promises';
import type { Host } from '../../core/index.js';
import { isDue } from './logs/cadence.js';
import { continueLog } from './logs/continue-log.js';
import { openLog } from './logs/open-log.js';

export interface CsvOptions {
  /** Every so many steps. */
  readonly every?: number;
}

const cell = (value: unknown): string => {
  const text = value === undefined ? '' : String(value);
  return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
};

/**
 * Writes training's records as a table (RFC 4180), whose columns are the first record's fields. Records without a loss (evaluations) have
 * other fields and are left out. A resumed run goes on in the same table. Needs Node.
 */
export const csv = (path: string, { every = 10 }: CsvOptions = {}) => {
  let file: FileHandle | null = null;
  let columns: string[] | null = null;
  return {
    name: 'csv',
    apply({ hooks, isFirstRank, startStep }: Host) {
      hooks.onStart.tapPromise(async () => {
        if (!isFirstRank()) return;
        file = await openLog('csv', path, 'a', async () => {
          await continueLog(path, startStep(), (line) => Number(line.split(',')[0]), 1);
          const before = await readFile(path, 'utf8').catch(() => '');
          if (before !== '') columns = before.split('\n')[0].split(',');
        });
      });
      hooks.shouldLog.tap((position) => (isFirstRank() && isDue(position, every) ? true : undefined));
      hooks.onRecord.tapPromise(async (record) => {
        if (!file || record.loss === undefined) return;
        if (!columns) {
          columns = Object.keys(record);
          await file.appendFile(`${columns.map(cell).join(',')}\n`);
        }
        await file.appendFile(`${columns.map((name) => cell(record[name])).join(',')}\n`);
      });
    },
    async dispose() {
      await file?.close();
      file = null;
    },
  };
};
