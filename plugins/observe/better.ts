/** Which of two values of a metric is the better one. */
export interface Better {
  /** Whether less or more is better; less by default. */
  readonly mode?: 'min' | 'max';
  /** By how much a value must be better to count. */
  readonly minDelta?: number;
}

/** Whether a value is better than the best so far; NaN never is. */
export const betterThan = (value: number, best: number | null, { mode = 'min', minDelta = 0 }: Better = {}): boolean =>
  Number.isFinite(value) && (best === null || (mode === 'min' ? value < best - minDelta : value > best + minDelta));
