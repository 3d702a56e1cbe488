import type { OptionChecks, Problems } from '../../core/index.js';
import { type SchedulePlugin, schedule } from './curve/schedule.js';

/** One schedule after another: each for its steps, counted from 0 again; the last takes the rest of the run. */
export const sequence = (...schedules: readonly (readonly [schedule: SchedulePlugin, steps?: number])[]) => {
  const check = (options: OptionChecks, learningRate: number, problems: Problems): void => {
    for (const [inner] of schedules) inner.check(problems, learningRate);
    if (schedules.length === 0) options.invalid('there is no schedule in it', 'Give at least one.');
    for (const [i, [, steps]] of schedules.entries()) {
      if (i < schedules.length - 1 && !(Number.isInteger(steps) && (steps as number) > 0))
        options.invalid(`part ${i + 1} has ${steps} steps`, 'Give each part but the last a whole number of steps.');
      if (i === schedules.length - 1 && steps !== undefined)
        options.invalid('the last part has a length', 'It takes the rest of the run: leave it out.');
    }
  };
  return schedule(
    'sequence',
    (input) => {
      let start = 0;
      for (const [inner, steps] of schedules) {
        const end = steps === undefined ? input.totalSteps : start + steps;
        if (input.step < end || steps === undefined)
          // The first part shares the run's warm-up; later ones start at full rate.
          return inner.curve({
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
      needsLength: schedules.some(([inner], i) => inner.needsLength && i === schedules.length - 1),
      check,
      settings: { parts: schedules.map(([inner, steps]) => ({ ...inner.settings(), steps: steps ?? null })) },
    },
  );
};
