import type { Span, TapTime } from '../../core/index.js';

/** Spans in the Trace Event Format (complete events, microseconds). */
export const traceOf = (spans: readonly Span[], rank: number): string =>
  JSON.stringify({
    displayTimeUnit: 'ms',
    traceEvents: spans.map(({ hook, part, start, milliseconds }) => ({
      name: part,
      cat: hook,
      ph: 'X',
      ts: 1000 * start,
      dur: 1000 * milliseconds,
      pid: rank,
      tid: 1,
      args: { hook },
    })),
  });

/** Times for reading, the longest first: what each took itself, without what it waited for others. */
export function profileTable(times: readonly TapTime[]): string {
  const lines = ['', `${'hook'.padEnd(16)}${'plugin'.padEnd(24)}${'calls'.padStart(8)}${'ms'.padStart(12)}`];
  for (const { hook, plugin, calls, milliseconds } of [...times].sort((a, b) => b.milliseconds - a.milliseconds))
    if (calls > 0) lines.push(`${hook.padEnd(16)}${plugin.padEnd(24)}${String(calls).padStart(8)}${milliseconds.toFixed(1).padStart(12)}`);
  return lines.join('\n');
}
