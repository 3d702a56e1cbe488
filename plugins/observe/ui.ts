import { basename, join } from 'node:path';
import { defineRole, type Host } from '../../core/index.js';
import * as tf from '../../core/tf.js';
import { watchEnding } from '../persist/folders/ending.js';
import { isDue } from './logs/cadence.js';
import { Records } from './page/records.js';
import { formerRecords } from './page/runs.js';
import { serveRuns } from './page/server.js';

/** Role PAGE: shows the run to whoever watches it. */
export interface Page {
  /** Takes an explanation of the run, as Trainer.explain gives it, before training starts. */
  describe(text: string): void;
}

declare module '../../core/plugin/roles.js' {
  interface Roles {
    PAGE: Page;
  }
}

export const PAGE = defineRole('PAGE', ['describe']);

export interface UiOptions {
  readonly host?: string;
  readonly port?: number;
  /** The run's folder, whose grid*.png are shown. */
  readonly folder?: string;
  /** Every so many steps. */
  readonly every?: number;
  /** What the run was asked to do, to be shown. */
  readonly options?: Readonly<Record<string, unknown>>;
  /** What its grids show, where that is not the option validationPrompt. */
  readonly prompts?: readonly string[];
  /** Where the address is said; the error stream by default. */
  readonly say?: (text: string) => void;
}

/**
 * A page on this machine that shows the run while it trains, and a button that stops it after the step; what it shows stays there when the run is over. Of a resumed run the part before is read from its
 * log. Needs Node.
 */
export const ui = ({ host, port, folder, every = 10, options, prompts, say = (text) => console.error(text) }: UiOptions = {}) => {
  const records = new Records();
  let server: Awaited<ReturnType<typeof serveRuns>> | null = null;
  let explanation: string | undefined;
  return {
    name: 'ui',
    fills: PAGE,
    describe(text: string) {
      explanation = text;
    },
    apply(run: Host) {
      const { hooks, isFirstRank, request, plan, startStep, runId } = run;
      const ending = watchEnding(run);
      let started = 0;
      hooks.onStart.tapPromise(async () => {
        if (!isFirstRank()) return;
        started = performance.now();
        if (folder && startStep() > 0)
          for (const record of await formerRecords(join(folder, 'log.jsonl'), { step: startStep(), runId: runId() })) records.add(record);
        const seconds = Number(records.list.at(-1)?.seconds);
        if (Number.isFinite(seconds)) started -= 1000 * seconds;
        server = await serveRuns({
          ...(host === undefined ? {} : { host }),
          ...(port === undefined ? {} : { port }),
          runs: async () => [
            {
              name: folder ? basename(folder) : 'run',
              records: records.list,
              generation: records.generation,
              folder: folder ?? '',
              live: true,
              state: ending()?.outcome ?? 'running',
              ...(ending()?.error === undefined ? {} : { error: ending()?.error }),
              steps: plan().steps,
              stepsPerEpoch: plan().stepsPerEpoch,
              ...(explanation === undefined ? {} : { explanation }),
              ...(options === undefined ? {} : { options }),
              ...(prompts === undefined ? {} : { prompts }),
              memory: { resident: process.memoryUsage.rss(), tensors: tf.memory().numBytes },
            },
          ],
          stop: () => request('stop'),
        });
        say(`this run: ${server.address}`);
      });
      hooks.shouldLog.tap((position) => (isFirstRank() && isDue(position, every) ? true : undefined));
      hooks.onRecord.tap((record) => {
        if (!server) return;
        records.add({ ...record, seconds: (performance.now() - started) / 1000 });
      });
    },
    async dispose() {
      await server?.seen();
      await server?.close();
      server = null;
    },
  };
};
