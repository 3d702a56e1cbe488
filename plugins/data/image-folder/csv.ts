/** A row of a table, and the line of the file that it begins in. */
export interface CsvRow {
  readonly line: number;
  readonly cells: readonly string[];
}

/** The rows of comma-separated values (RFC 4180): quoted cells may hold commas, doubled quotes and line ends. Empty lines are left out. */
export function parseCsv(text: string): CsvRow[] {
  const rows: CsvRow[] = [];
  let cells: string[] = [];
  let [line, begin] = [1, 1];
  const endRow = () => {
    if (cells.length > 1 || cells[0] !== '') rows.push({ line: begin, cells });
    cells = [];
    begin = line;
  };
  // A cell, quoted or not, and what ends it: a comma, a line's end, or that of the text.
  for (const [, quoted, plain, end] of text.matchAll(/(?:"((?:[^"]|"")*)"|([^,\r\n]*))(,|\r\n|\n|\r|$)/gy)) {
    const cell = quoted === undefined ? plain : quoted.replaceAll('""', '"');
    cells.push(cell);
    line += cell.split('\n').length - 1;
    if (end === ',') continue;
    if (end !== '') line++;
    endRow();
    if (end === '') break;
  }
  return rows;
}
