import type { FinishedRecord } from '../plugin/hooks.js';

/** A value and the step that it was logged at, counted from 1. */
export interface At {
  readonly step: number;
  readonly value: number;
}

/** The least and the largest value that a metric had; which of them is the better one is the metric's affair. */
export interface Extremes {
  readonly least: At;
  readonly most: At;
}

/** Records of steps that are kept: of a longer run every second is, then every fourth, and so on. */
const MOST = 50_000;

/** What was logged in a run, for its result. Evaluations are kept all. */
export class History {
  private list: FinishedRecord[] = [];
  private steps = 0;
  private readonly extremes: Record<string, Extremes> = {};

  add(record: FinishedRecord): void {
    this.list.push(record);
    const isStep = 'loss' in record;
    const step = Number(record.step);
    for (const [name, value] of Object.entries(isStep ? { loss: record.loss } : record)) {
      if (name === 'step' || name === 'epoch' || typeof value !== 'number' || !Number.isFinite(value)) continue;
      const at = { step, value };
      const { least = at, most = at } = this.extremes[name] ?? {};
      this.extremes[name] = { least: value < least.value ? at : least, most: value > most.value ? at : most };
    }
    if (!isStep || ++this.steps <= MOST) return;
    let number = 0;
    this.list = this.list.filter((one) => !('loss' in one) || number++ % 2 === 0);
    this.steps = Math.ceil(this.steps / 2);
  }

  get records(): readonly FinishedRecord[] {
    return this.list;
  }

  get best(): Readonly<Record<string, Extremes>> {
    return this.extremes;
  }
}
