import { basename } from 'node:path';
import type { Result } from '../../core/index.js';
import { duration } from '../../plugins/observe/progress/duration.js';

const short = (x: number): string => x.toPrecision(4);

/** Logged steps whose losses make the last one: a single step's jumps. */
const LAST = 20;

/** What grows as a run gets better: decibels. */
const growing = (name: string): boolean => name.startsWith('psnr');

/** Last and best values: of the loss the mean of the last steps that were logged, of metrics the last evaluation's. A run that went on knows those since then, `from` a step. */
function valueLines({ history, metrics, best }: Result, from: number): string[] {
  const losses = history.flatMap(({ loss }) => (typeof loss === 'number' ? [loss] : [])).slice(-LAST);
  const bestOf = (name: string) => {
    const { least, most } = best[name] ?? {};
    const found = growing(name) ? most : least;
    const which = `${growing(name) ? 'highest' : 'lowest'}${from > 0 ? ` since step ${from}:` : ''}`;
    return found ? `, ${which} ${short(found.value)} at step ${found.step}` : '';
  };
  return [
    ...(losses.length > 0
      ? [
          `loss ${short(losses.reduce((a, b) => a + b) / losses.length)}, the mean of the last ${losses.length} that were logged${bestOf('loss')}`,
        ]
      : []),
    ...Object.entries(metrics).map(([name, value]) => `${name} ${short(value)}${bestOf(name)}`),
  ];
}

/** What a run that has ended says: how long it took, losses, what was written, and how to go on. Of a fast dev run that it is deleted. */
export function outcome(result: Result, stepsMade: number, isTrial = false): string[] {
  const { step, stopped, written, seconds } = result;
  const checkpoint = written.find((path) => /^checkpoint-\d+$/.test(basename(path)));
  const others = written.filter((path) => path !== checkpoint);
  return [
    `${stopped ? 'stopped after step' : 'done: step'} ${step}; ${stepsMade} step${stepsMade === 1 ? '' : 's'} in ${duration(seconds)}`,
    ...valueLines(result, step - stepsMade),
    ...(isTrial
      ? [`${stopped ? '' : 'one step of everything went well; '}the ${written.length} files and folders that it wrote are deleted`]
      : []),
    ...(!isTrial && others.length > 0 ? [`wrote ${others.join(', ')}`] : []),
    ...(!isTrial && checkpoint
      ? [
          `saved ${checkpoint}; go on with the same command and --resume_from_checkpoint latest${
            stopped ? '' : ', and a larger --max_train_steps'
          }`,
        ]
      : []),
  ];
}
