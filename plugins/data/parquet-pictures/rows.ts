import { openTable, type PictureRow, type PictureTable, type PictureTables } from '../image-folder/table.js';

/** Tables that are opened at once. */
const AT_ONCE = 8;

/** A group of rows of one of the tables, which is read at once. */
export interface Group {
  readonly path: string;
  readonly table: PictureTable;
  readonly inTable: number;
  /** Its first row's number among all, and among those of its table. */
  readonly from: number;
  readonly fromInTable: number;
  readonly count: number;
}

/** The groups of all tables, in their order. Reads the end of each table. */
export async function groupsOf(tables: PictureTables): Promise<Group[]> {
  const groups: Group[] = [];
  let from = 0;
  for (let at = 0; at < tables.paths.length; at += AT_ONCE) {
    const paths = tables.paths.slice(at, at + AT_ONCE);
    const opened: PictureTable[] = [];
    // Of several that are wrong, the first is named.
    for (const one of await Promise.allSettled(paths.map((path) => openTable(tables, path)))) {
      if (one.status === 'rejected') throw one.reason;
      opened.push(one.value);
    }
    for (const [i, table] of opened.entries()) {
      let fromInTable = 0;
      for (const [inTable, count] of table.groups.entries()) {
        groups.push({ path: paths[i], table, inTable, from, fromInTable, count });
        from += count;
        fromInTable += count;
      }
    }
  }
  return groups;
}

/** The group that holds a row. */
export function groupOf(groups: readonly Group[], row: number): number {
  let [low, high] = [0, groups.length - 1];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (groups[middle].from <= row) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** An epoch's way through the rows: what of the groups that were read is still to come. */
export class Pass {
  private readonly positions: Int32Array;
  private readonly reading = new Map<number, Promise<void>>();
  /** What comes before is done with, on every rank. */
  private done = 0;

  constructor(
    private readonly groups: readonly Group[],
    /** The rows in their order; those that it lacks are not wanted. */
    order: ArrayLike<number>,
    total: number,
    /** Where those that were read and are still to come are kept. */
    private readonly rows = new Map<number, PictureRow>(),
  ) {
    this.positions = new Int32Array(total).fill(-1);
    for (let i = 0; i < order.length; i++) this.positions[order[i]] = i;
  }

  /** A row that is still to come. Its group is read once, however often it is asked for. */
  async row(id: number): Promise<PictureRow> {
    const group = groupOf(this.groups, id);
    const reading = this.reading.get(group) ?? this.read(this.groups[group]);
    this.reading.set(group, reading);
    await reading;
    return this.rows.get(id) as PictureRow;
  }

  /** Whether some of these rows were let go. */
  isPast(ids: readonly number[]): boolean {
    return ids.some((id) => this.positions[id] < this.done);
  }

  /** Lets go what comes before all of these rows. */
  goOn(ids: readonly number[]): void {
    this.done = ids.reduce((least, id) => Math.min(least, this.positions[id]), Number.POSITIVE_INFINITY);
    for (const id of this.rows.keys()) if (this.positions[id] < this.done) this.rows.delete(id);
  }

  private async read({ table, inTable, from }: Group): Promise<void> {
    // A copy: what is kept of a group would otherwise hold all of it.
    for (const [i, { bytes, caption }] of (await table.read(inTable)).entries())
      if (this.positions[from + i] >= this.done) this.rows.set(from + i, { bytes: bytes.slice(), caption });
  }
}
