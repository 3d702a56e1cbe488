import { join } from 'node:path';
import type { Host } from '../../core/index.js';
import { isDue } from './logs/cadence.js';
import { continueLog } from './logs/continue-log.js';
import { type OpenLog, openLog } from './logs/open-log.js';

export interface JsonlOptions {
  /** Every so many steps. */
  readonly every?: number;
}

/**
 * Writes every record into log.jsonl of a folder, as one line of JSON, with the seconds since the start and the run's id. A resumed run goes on where its snapshot was
 * taken, in steps and seconds: lines of steps that it makes again are dropped. The log of another run is kept beside it. Needs Node.
 */
export const jsonl = (folder: string, { every = 10 }: JsonlOptions = {}) => {
  const path = join(folder, 'log.jsonl');
  let file: OpenLog | null = null;
  let started = 0;
  return {
    name: 'jsonl',
    apply({ hooks, isFirstRank, startStep, runId, wrote }: Host) {
      hooks.onStart.tapPromise(async () => {
        started = performance.now();
        if (!isFirstRank()) return;
        wrote(path);
        file = await openLog('jsonl', path, 'a', {
          ready: async () => {
            const kept = await continueLog(path, { step: startStep(), runId: runId(), lineOf: (line) => JSON.parse(line) });
            const { seconds } = JSON.parse(kept.at(-1) ?? '{}') as { seconds?: unknown };
            if (typeof seconds === 'number') started -= 1000 * seconds;
          },
        });
      });
      hooks.shouldLog.tap((position) => (isFirstRank() && isDue(position, every) ? true : undefined));
      hooks.onRecord.tapPromise(async (record) => {
        // NaN and infinities are no JSON numbers; as texts they are at least seen.
        const line = JSON.stringify(
          { ...record, seconds: Number(((performance.now() - started) / 1000).toFixed(3)), run: runId() },
          (_, value) => (typeof value === 'number' && !Number.isFinite(value) ? String(value) : value),
        );
        await file?.append(`${line}\n`);
      });
    },
    async dispose() {
      await file?.close();
      file = null;
    },
  };
};
