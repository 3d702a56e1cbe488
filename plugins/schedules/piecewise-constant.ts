import { schedule } from './curve/schedule.js';

/**
 * Multipliers by step, as "1:500,0.1:2000,0.01": the first whose boundary is above the step holds, the last without one
 * to the end. Boundaries are absolute steps, warm-up or not.
 */
export const piecewiseConstant = (rules: string) => {
  const { pieces, last, wrong } = parse(rules);
  return schedule('piecewise-constant', ({ step }) => pieces.find(([boundary]) => step < boundary)?.[1] ?? last, {
    needsLength: false,
    duringWarmup: true,
    check: (options) =>
      wrong === null ||
      options.invalid(`the rules "${rules}" ${wrong}`, 'Write value:step pairs and a last value, as "1:500,0.1:2000,0.01".'),
    settings: { rules },
  });
};

interface Rules {
  readonly pieces: readonly (readonly [boundary: number, value: number])[];
  readonly last: number;
  /** What is wrong with them first, if anything is. */
  readonly wrong: string | null;
}

function parse(rules: string): Rules {
  const found: string[] = [];
  const number = (text: string): number => {
    if (text === '' || !Number.isFinite(Number(text))) found.push(`hold "${text}", which is no number`);
    return Number(text);
  };
  const texts = rules.split(',').map((text) => text.trim());
  const tail = texts.pop() as string;
  if (tail === '' || tail.includes(':')) found.push('end without a value for the rest');
  const pieces = texts.map((text) => {
    const [value, boundary = '', ...more] = text.split(':');
    if (boundary === '' || more.length > 0) found.push(`hold "${text}", which is no pair`);
    return [number(boundary), number(value)] as const;
  });
  for (let i = 1; i < pieces.length; i++) if (pieces[i][0] <= pieces[i - 1][0]) found.push('have steps that do not rise');
  const last = number(tail);
  return { pieces, last, wrong: found[0] ?? null };
}
