import type { State } from '../../../core/index.js';

/** The plugin that skips steps, by whose name its state stands in snapshots. */
export const GUARD = 'non-finite-guard';

/** What a snapshot says of skipped steps: how many of the run's, and how many in a row up to its last. Nothing was skipped where no guard was. */
export function skippedSteps(plugins: Readonly<Record<string, State>>): { readonly skipped: number; readonly inRow: number } {
  const { skipped = 0, inRow = 0 } = plugins[GUARD] ?? {};
  return { skipped: Number(skipped), inRow: Number(inRow) };
}
