import type { FinishedRecord } from '../../../core/index.js';

/** Records of a run that a page is given. */
const MOST = 4000;

/** A run's records, thinned out as they become many: half of the points draw the same line, and a run of any length takes the same memory. */
export class Records {
  list: FinishedRecord[] = [];
  /** Grows when records that were given out before are no longer the same. */
  generation = 0;
  /** Of a source that gives all of them, every so-manyth is still of use. */
  protected every = 1;

  add(record: FinishedRecord): void {
    this.list.push(record);
    if (this.list.length <= MOST) return;
    this.list = this.list.filter((_, i) => i % 2 === 0);
    this.every *= 2;
    this.generation++;
  }

  clear(): void {
    this.list = [];
    this.every = 1;
    this.generation++;
  }
}
