import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { type Plugin, Trainer } from '../../core/index.js';
import { earlyStopping } from '../../plugins/observe/early-stopping.js';
import { checkpoint } from '../../plugins/persist/checkpoint.js';
import { reduceOnPlateau } from '../../plugins/schedules/reduce-on-plateau.js';
import { memoryStore, smallRun } from '../support/small-run.js';

const NEVER = 100;

/** An evaluation after every step, with these values. */
const evaluations = (values: readonly number[]): Plugin => ({
  name: 'evaluations',
  metrics: ['loss.held'],
  apply({ hooks }) {
    hooks.onRequest.tap((requests) => ({ ...requests, evaluate: 1 }));
    hooks.onEvaluate.tap((metrics, step) => ({ ...metrics, 'loss.held': values[step] }));
  },
});

test.each([
  ['min', [Number.NaN, 3, Number.NaN, 2, 2, Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY, 2.5, 2.5], 2],
  ['min', [Number.NaN, Number.NaN, Number.NaN], null],
  ['max', [Number.NaN, 0.1, Number.POSITIVE_INFINITY, 0.7, 0.7, 0.3, 0.3], 0.7],
] as const)('early stopping, the plateau and the best checkpoint agree on the best of %s %j', async (mode, values, best) => {
  const into = await mkdtemp(join(tmpdir(), 'steploom-best-'));
  const [stopping, plateau] = [earlyStopping({ mode, patience: NEVER }), reduceOnPlateau({ mode, threshold: 0 })];
  const run = () => smallRun({ steps: values.length }).with(evaluations(values));
  await new Trainer(run().with({ ...stopping, after: [...stopping.after, 'evaluations'] }, memoryStore(NEVER).plugin)).train();
  await new Trainer(run().with({ ...plateau, after: [...plateau.after, 'evaluations'] })).train();
  await new Trainer(run().with(checkpoint({ into, best: { metric: 'loss.held', mode } }))).train();
  const kept = await readFile(join(into, 'best.json'), 'utf8').then(
    (text) => (JSON.parse(text) as { value: number }).value,
    () => null,
  );
  expect([(await stopping.capture()).best, (await plateau.capture()).best, kept]).toEqual([best, best, best]);
  await rm(into, { recursive: true });
});
