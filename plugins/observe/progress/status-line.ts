/** What is asked of a stream: process.stderr is one. */
export interface TextStream {
  readonly isTTY?: boolean;
  /** Characters in a line; 80 where it does not say. */
  readonly columns?: number;
  write(text: string): unknown;
}

/** Clears the line of the cursor. */
const CLEAR = '\r\u001b[K';

/**
 * The last line of a terminal: it is written anew again and again, what else is said stands above it, and the prompt below. Whoever writes to one stream shares
 * one, so that a bar, the step of a picture that is drawn and a warning do not run into each other. Needs a terminal.
 */
export class StatusLine {
  private static readonly lines = new WeakMap<TextStream, StatusLine>();
  private text = '';

  private constructor(private readonly stream: TextStream) {}

  /** That of a stream. */
  static of(stream: TextStream): StatusLine {
    const known = StatusLine.lines.get(stream) ?? new StatusLine(stream);
    StatusLine.lines.set(stream, known);
    return known;
  }

  /** What stands there; empty where it is free. */
  get shown(): string {
    return this.text;
  }

  /** Writes it anew. A full line would break: the last column stays free. */
  show(text: string): void {
    const shown = text.slice(0, Math.max(0, (this.stream.columns ?? 80) - 1));
    this.stream.write(`${this.text === '' ? '' : CLEAR}${shown}`);
    this.text = shown;
  }

  /** Writes a line above it. */
  print(line: string): void {
    this.stream.write(this.text === '' ? `${line}\n` : `${CLEAR}${line}\n${this.text}`);
  }

  /** Leaves it as it is: what comes next begins below. */
  leave(): void {
    if (this.text !== '') this.stream.write('\n');
    this.text = '';
  }
}
