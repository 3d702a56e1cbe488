import type { FinishedRecord } from '../../../core/index.js';

/** Records of a run that a page is given. */
const MOST = 4000;

const isStep = ({ loss }: FinishedRecord): boolean => typeof loss === 'number';

/**
 * A run's records, thinned out as they become many: half of the steps draw the same line, and a run of any length takes the same memory. Evaluations,
 * which are few, stay, and so does the step with the lowest loss.
 */
export class Records {
  list: FinishedRecord[] = [];
  /** Grows when records that were given out before are no longer the same. */
  generation = 0;
  /** Of a source that gives all steps, every so-manyth is still of use. */
  private every = 1;
  private steps = 0;
  private lowest: FinishedRecord | null = null;

  add(record: FinishedRecord): void {
    if (isStep(record) && this.isLowest(record)) this.lowest = record;
    this.list.push(record);
    if (this.list.length <= MOST) return;
    let steps = 0;
    const thinned = this.list.filter((one) => !isStep(one) || one === this.lowest || steps++ % 2 === 0);
    this.list = thinned.length < 0.75 * MOST ? thinned : this.list.filter((_, i) => i % 2 === 0);
    this.every *= 2;
    this.generation++;
  }

  /** Adds a record of a source that gives all of them, if it is still of use. */
  addIfOfUse(record: FinishedRecord): void {
    if (!isStep(record) || this.steps++ % this.every === 0 || this.isLowest(record)) this.add(record);
  }

  clear(): void {
    this.list = [];
    this.every = 1;
    this.steps = 0;
    this.lowest = null;
    this.generation++;
  }

  private isLowest({ loss }: FinishedRecord): boolean {
    return Number(loss) < Number(this.lowest?.loss ?? Number.POSITIVE_INFINITY);
  }
}
