import { type FinishedRecord, type Host, printable } from '../../core/index.js';
import type { Scalar } from '../../core/tf.js';
import { isDue } from './logs/cadence.js';
import { barLine, type Shown } from './progress/bar.js';
import { duration } from './progress/duration.js';
import { StatusLine, type TextStream } from './progress/status-line.js';

export type { TextStream };

export interface ProgressOptions {
  /** Show every so many steps; by default each tenth of a second on a terminal, elsewhere each fiftieth of the run and whatever other plugins log. */
  readonly every?: number;
  /** Where it is written; the error stream by default, the console in a browser. */
  readonly stream?: TextStream;
}

/** A loss that is added up on the device, over so many items. */
interface Sum {
  readonly loss: Scalar;
  readonly items: number;
}

/** Means that a bar shows the mean of: each is of a tenth of a second, and its steps' losses jump. */
const SHOWN_TOGETHER = 20;

const errorStream = (): TextStream =>
  (globalThis.process as NodeJS.Process | undefined)?.stderr ?? { write: (text) => console.log(text.trimEnd()) };

/**
 * Step, loss, learning rate, steps a second and time left: a bar on a terminal, plain lines elsewhere. The loss of a line is the mean over all steps since
 * the line before, that of the bar the mean over the last two seconds or twenty steps, whichever is longer.
 */
export const progress = ({ every, stream = errorStream() }: ProgressOptions = {}) => {
  const hasBar = stream.isTTY === true;
  let started = 0;
  let firstStep = -1;
  let total = 0;
  let asked = 0;
  /** What was added up since the last line, and what was until the lines that are not written yet, by their steps. */
  let sum: Sum | null = null;
  const taken = new Map<number, Sum>();
  let means: number[] = [];
  const line = StatusLine.of(stream);
  /** Whether a line, or another state of the bar, is due after a step that is logged anyway. */
  const isShown = (at: { step: number; last: boolean }): boolean =>
    every !== undefined ? isDue(at, every) : hasBar ? at.last || performance.now() - asked >= 100 : isDue(at, Math.ceil(total / 50));
  const shown = (record: FinishedRecord, loss: number): Shown => {
    const step = Number(record.step);
    const seconds = (performance.now() - started) / 1000;
    const speed = (step - firstStep) / seconds;
    return {
      step,
      total,
      loss: Number.isFinite(loss) ? loss.toPrecision(4) : String(loss),
      rate: typeof record.learningRate === 'number' ? record.learningRate.toPrecision(3) : '-',
      speed: speed >= 1 ? `${speed.toPrecision(3)} it/s` : `${(1 / speed).toPrecision(3)} s/it`,
      left: duration((total - step) / speed),
    };
  };
  return {
    name: 'progress',
    // Losses are added up over all processes by then.
    after: ['distributed'],
    apply({ hooks, isFirstRank }: Host) {
      hooks.onStart.tap((plan) => {
        total = plan.steps;
        // Steps that were only tried are none of the run's.
        sum?.loss.dispose();
        sum = null;
        firstStep = -1;
      });
      hooks.beforeEpoch.tap(({ step }) => {
        if (firstStep >= 0) return;
        firstStep = step;
        // Not from onStart: what others do there, such as drawing pictures, is no training.
        started = performance.now();
      });
      hooks.onSync.tap((given) => {
        if (!isFirstRank() || given.requests.abandon > 0) return given;
        const before = sum;
        sum = { loss: before ? (before.loss.add(given.loss) as Scalar) : given.loss.clone(), items: (before?.items ?? 0) + given.items };
        before?.loss.dispose();
        return given;
      });
      hooks.shouldLog.tap((at) => (isFirstRank() && isShown(at) ? true : undefined));
      hooks.onLog.tap((record, step) => {
        // Without a bar or a wish, a line for whatever is logged, be it for another plugin.
        const isLine = every === undefined && !hasBar;
        if (!sum || !(isLine || isShown({ step, last: step === total - 1 }))) return record;
        taken.set(step + 1, sum);
        sum = null;
        asked = performance.now();
        return record;
      });
      hooks.onRecord.tapPromise(async (record) => {
        if (!isFirstRank()) return;
        if (!('loss' in record)) {
          if (hasBar) line.print(metricsLine(record, total));
          else stream.write(`${metricsLine(record, total)}\n`);
          return;
        }
        const step = Number(record.step);
        const mine = taken.get(step);
        if (!mine) return;
        taken.delete(step);
        const mean = (await mine.loss.data())[0] / mine.items;
        mine.loss.dispose();
        if (!hasBar) {
          const { loss, rate, speed, left } = shown(record, mean);
          stream.write(`step ${step}/${total}  loss ${loss}  rate ${rate}  ${speed}  ${left} left\n`);
          return;
        }
        means = [...means, mean].slice(-SHOWN_TOGETHER);
        line.show(barLine(shown(record, means.reduce((a, b) => a + b) / means.length), stream.columns ?? 80));
      });
      hooks.onEnd.tap(() => line.leave());
    },
    dispose() {
      line.leave();
      for (const { loss } of [...taken.values(), ...(sum ? [sum] : [])]) loss.dispose();
    },
  };
};

const metricsLine = (record: FinishedRecord, total: number): string =>
  `step ${record.step}/${total}  ${Object.entries(record)
    .filter(([key]) => key !== 'step' && key !== 'epoch')
    .map(([key, value]) => printable(`${key} ${typeof value === 'number' ? value.toPrecision(4) : value}`))
    .join('  ')}`;
