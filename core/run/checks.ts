import type { Collective } from '../collective.js';
import { type Problems, SteploomError } from '../errors.js';
import { type Model, trainablePaths } from '../model.js';
import type { Plan } from '../plan.js';
import type { Resolve } from '../plugin/container.js';
import { OPTIMIZER, RUN, SCHEDULE, WINDOW } from '../plugin/roles.js';

/** What the run's own options must be, and what they must be to the schedule, the window and the optimizer. */
export function checkRun(resolve: Resolve, problems: Problems): void {
  const run = resolve(RUN);
  const bad = (what: string, fix: string) => problems.add('RUN_INVALID', 'run', what, fix);
  const check = problems.options('run', 'RUN_INVALID');
  const whole = (name: 'steps' | 'epochs' | 'warmupSteps', least: number) => {
    const value = run[name];
    if (value !== undefined) check.whole(name, value, least);
  };
  for (const name of ['learningRate', 'weightDecay'] as const) check.notNegative(name, run[name]);
  if (!Number.isSafeInteger(run.seed)) bad(`seed is ${run.seed}`, 'Give a whole number.');
  whole('steps', 1);
  whole('epochs', 1);
  whole('warmupSteps', 0);
  const { warmupAtMost } = run;
  if (warmupAtMost !== undefined && !(warmupAtMost >= 0 && warmupAtMost <= 1))
    check.invalid(`warmupAtMost is ${warmupAtMost}`, 'Give a share from 0 to 1.');
  if (run.steps === undefined && run.epochs === undefined) {
    if (resolve(SCHEDULE).needsLength)
      problems.add('SCHEDULE_LENGTH_UNKNOWN', 'run', 'the schedule needs the length of the run', 'Give steps or epochs.');
    else bad('the run has no length', 'Give steps or epochs.');
  }
  const { length } = resolve(WINDOW);
  if (!Number.isInteger(length) || length < 1)
    problems.add('WINDOW_INVALID', 'window', `the window's length is ${length}`, 'Give a whole number, at least 1.');
  const usual = resolve(OPTIMIZER).usualLearningRate;
  if (usual !== undefined && run.learningRate !== usual)
    problems.warn(
      'RATE_UNUSUAL',
      'run',
      `the optimizer is usually given a learning rate of ${usual}, not ${run.learningRate}`,
      `Try ${usual}.`,
    );
}

/** What the plan must be to the run's options. */
export function checkPlan({ steps, warmupSteps }: Plan, problems: Problems): void {
  if (warmupSteps > steps)
    problems.add('WARMUP_TOO_LONG', 'run', `${warmupSteps} warm-up steps are more than the run's ${steps}`, 'Give fewer.');
}

/** What the prepared model must be to the run's options. */
export function checkModel(model: Model, resolve: Resolve, problems: Problems): void {
  const groups = new Set([...model.parameters.values()].map((p) => p.group));
  for (const name of Object.keys(resolve(RUN).groups))
    if (!groups.has(name))
      problems.add('GROUP_UNKNOWN', 'run', `no parameter is in the group "${name}"`, `There are: ${[...groups].join(', ')}.`);
  if (trainablePaths(model).length === 0)
    problems.add('NOTHING_TO_TRAIN', 'core', 'the model has no trainable parameter', 'Add an adapter, or train the model itself.');
}

/** Ends every rank if one has a problem; each throws its own. Warnings are said by rank 0, since every rank finds the same. */
export async function reportProblems(problems: Problems, collective: Collective, warn: (text: string) => void): Promise<void> {
  const count = await collective.sum(problems.list.length);
  if (problems.list.length > 0) throw new SteploomError(problems.list, { everyRank: true });
  if (count > 0)
    throw new SteploomError(
      { code: 'OTHER_RANK', plugin: 'core', what: 'another rank reported problems', fix: 'See its own message.' },
      { everyRank: true },
    );
  if (collective.rank === 0) for (const { plugin, what, fix } of problems.warnings) warn(`${plugin}: ${what}. ${fix}`);
}
