import { invalidOption } from '../../core/index.js';
import { schedule } from './curve/schedule.js';

/**
 * Multipliers by step, as "1:500,0.1:2000,0.01": the first whose boundary is above the step holds, the last without one
 * to the end. Boundaries are absolute steps, warm-up or not.
 */
export const piecewiseConstant = (rules: string) => {
  const { pieces, last } = parse(rules);
  return schedule('piecewise-constant', ({ step }) => pieces.find(([boundary]) => step < boundary)?.[1] ?? last, {
    needsLength: false,
    duringWarmup: true,
    settings: { rules },
  });
};

function parse(rules: string): { pieces: [boundary: number, value: number][]; last: number } {
  const bad = (what: string): never => {
    throw invalidOption(
      'piecewise-constant',
      `the rules "${rules}" ${what}`,
      'Write value:step pairs and a last value, as "1:500,0.1:2000,0.01".',
    );
  };
  const parts = rules.split(',').map((part) => part.trim());
  const number = (text: string): number =>
    text !== '' && Number.isFinite(Number(text)) ? Number(text) : bad(`hold "${text}", which is no number`);
  const tail = parts.pop() as string;
  if (tail === '' || tail.includes(':')) bad('end without a value for the rest');
  const pieces = parts.map((part): [number, number] => {
    const [value, boundary, more] = part.split(':');
    if (boundary === undefined || more !== undefined) bad(`hold "${part}", which is no pair`);
    return [number(boundary), number(value)];
  });
  for (let i = 1; i < pieces.length; i++) if (pieces[i][0] <= pieces[i - 1][0]) bad('have steps that do not rise');
  return { pieces, last: number(tail) };
}
