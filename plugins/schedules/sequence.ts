import type { OptionChecks, Problems } from '../../core/index.js';
import { type SchedulePlugin, schedule } from './curve/schedule.js';

/** One schedule after another: each for its steps, counted from 0 again; the last takes the rest of the run. */
export const sequence = (...parts: readonly (readonly [schedule: SchedulePlugin, steps?: number])[]) => {
  const check = (options: OptionChecks, learningRate: number, problems: Problems): void => {
    for (const [part] of parts) part.check(problems, learningRate);
    if (parts.length === 0) options.invalid('there is no schedule in it', 'Give at least one.');
    for (const [i, [, steps]] of parts.entries()) {
      if (i < parts.length - 1 && !(Number.isInteger(steps) && (steps as number) > 0))
        options.invalid(`part ${i + 1} has ${steps} steps`, 'Give each part but the last a whole number of steps.');
      if (i === parts.length - 1 && steps !== undefined)
        options.invalid('the last part has a length', 'It takes the rest of the run: leave it out.');
    }
  };
  return schedule(
    'sequence',
    (input) => {
      let start = 0;
      for (const [part, steps] of parts) {
        const end = steps === undefined ? input.totalSteps : start + steps;
        if (input.step < end || steps === undefined)
          // The first part shares the run's warm-up; later ones start at full rate.
          return part.curve({
            ...input,
            step: input.step - start,
            totalSteps: end - start,
            warmupSteps: start === 0 ? input.warmupSteps : 0,
          });
        start = end;
      }
      return 1;
    },
    {
      needsLength: parts.some(([part], i) => part.needsLength && i === parts.length - 1),
      check,
      settings: { parts: parts.map(([part, steps]) => ({ ...part.settings(), steps: steps ?? null })) },
    },
  );
};
