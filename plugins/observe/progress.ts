import cliProgress from 'cli-progress';
import { type FinishedRecord, type Host, printable } from '../../core/index.js';
import { isDue } from './logs/cadence.js';

/** What is asked of a stream: process.stderr is one. */
export interface TextStream {
  readonly isTTY?: boolean;
  write(text: string): unknown;
}

export interface ProgressOptions {
  /** Log every so many steps; each tenth of a second for a terminal's bar, each fiftieth of the run otherwise. */
  readonly every?: number;
  /** Where it is written; the error stream by default. */
  readonly stream?: TextStream;
}

const duration = (seconds: number): string => {
  if (!Number.isFinite(seconds)) return '?';
  const s = Math.max(0, Math.round(seconds));
  return s < 60
    ? `${s} s`
    : s < 3600
      ? `${Math.floor(s / 60)} min ${s % 60} s`
      : `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
};

/** Step, loss, learning rate, steps a second and time left: a bar on a terminal, plain lines elsewhere. Needs Node. */
export const progress = ({ every, stream = process.stderr }: ProgressOptions = {}) => {
  let bar: cliProgress.SingleBar | null = null;
  let started = 0;
  let firstStep = 0;
  let lastAsked = 0;
  let total = 0;
  const text = (record: FinishedRecord): Record<string, string> => {
    const step = Number(record.step);
    const seconds = (performance.now() - started) / 1000;
    const rate = (step - firstStep) / seconds;
    const number = (x: unknown, digits: number) => (typeof x === 'number' ? x.toPrecision(digits) : '-');
    return {
      loss: number(record.loss, 4),
      rate: number(record.learningRate, 3),
      speed: `${rate.toPrecision(3)} it/s`,
      left: duration((total - step) / rate),
    };
  };
  return {
    name: 'progress',
    apply({ hooks, isFirstRank }: Host) {
      hooks.onStart.tap((plan) => {
        total = plan.steps;
        firstStep = -1;
      });
      hooks.beforeEpoch.tap(({ step }) => {
        if (firstStep >= 0 || !isFirstRank()) return;
        firstStep = step;
        // Not from onStart: what others do there, such as drawing pictures, is no training.
        started = performance.now();
        if (stream.isTTY) {
          bar = new cliProgress.SingleBar(
            {
              stream: stream as NodeJS.WritableStream,
              format: '{bar} {value}/{total} | loss {loss} | rate {rate} | {speed} | {left} left',
              hideCursor: true,
            },
            cliProgress.Presets.shades_classic,
          );
          bar.start(total, step, { loss: '-', rate: '-', speed: '-', left: '?' });
        }
      });
      hooks.shouldLog.tap((position) => {
        if (!isFirstRank()) return undefined;
        if (every !== undefined) return isDue(position, every) ? true : undefined;
        if (!bar) return isDue(position, Math.max(1, Math.ceil(total / 50))) ? true : undefined;
        const now = performance.now();
        if (now - lastAsked < 100 && !position.last) return undefined;
        lastAsked = now;
        return true;
      });
      hooks.onRecord.tap((record) => {
        if (!isFirstRank()) return;
        const shown = text(record);
        if (bar && 'loss' in record) bar.update(Number(record.step), shown);
        else if ('loss' in record)
          stream.write(`step ${record.step}/${total}  loss ${shown.loss}  rate ${shown.rate}  ${shown.speed}  ${shown.left} left\n`);
        else
          stream.write(
            `step ${record.step}/${total}  ${Object.entries(record)
              .filter(([key]) => key !== 'step' && key !== 'epoch')
              .map(([key, value]) => printable(`${key} ${typeof value === 'number' ? value.toPrecision(4) : value}`))
              .join('  ')}\n`,
          );
      });
      hooks.onEnd.tap(() => {
        bar?.stop();
        bar = null;
      });
    },
    dispose() {
      bar?.stop();
    },
  };
};
