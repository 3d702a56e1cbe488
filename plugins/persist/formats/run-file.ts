import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** The file that names a folder's run. */
export const RUN_FILE = 'run.json';

/** How a run has ended: its plan or a plugin that had seen enough, somebody who stopped it, or an error. One that is killed writes none. */
export const OUTCOMES = ['done', 'stopped', 'failed'] as const;
export type Outcome = (typeof OUTCOMES)[number];

/** How a run has ended, and of one that failed the first line of its error. */
export interface Ending {
  readonly outcome: Outcome;
  readonly error?: string;
}

/** What a run writes of itself: at its start, and with an ending when it ends. */
export interface RunFacts extends Partial<Ending> {
  readonly id: string;
  /** When it began, as an ISO date. */
  readonly begun?: string;
  readonly options?: Readonly<Record<string, unknown>>;
  /** What its grids show, where no option says so. */
  readonly prompts?: readonly string[];
  /** How long it is to be. */
  readonly steps?: number;
  readonly epochs?: number;
  readonly stepsPerEpoch?: number;
  /** From its start, or from where it was last resumed, to its end. */
  readonly seconds?: number;
}

/** What a folder's run says of itself; null where nothing can be read there. */
export async function runFactsOf(folder: string): Promise<Partial<RunFacts> | null> {
  try {
    const facts: unknown = JSON.parse(await readFile(join(folder, RUN_FILE), 'utf8'));
    return typeof facts === 'object' ? facts : null;
  } catch {
    return null;
  }
}

/** The run that a folder belongs to; null where it says none. */
export async function runOf(folder: string): Promise<string | null> {
  const id: unknown = (await runFactsOf(folder))?.id;
  return typeof id === 'string' ? id : null;
}
