import { expect, test } from 'vitest';
import { betterThan, checkWatched, type Plugin, Trainer } from '../../core/index.js';
import { smallRun } from '../support/small-run.js';

const gives = (name: string, metrics?: readonly string[]): Plugin => ({
  name,
  ...(metrics ? { metrics } : {}),
  apply: ({ hooks }) => hooks.onEvaluate.tap((given) => ({ ...given, ...Object.fromEntries((metrics ?? []).map((m) => [m, 1])) })),
});
const watches = (metric: string): Plugin => ({
  name: 'watcher',
  metrics: [],
  apply: (host) => {
    host.hooks.validate.tap((problems) => checkWatched(problems, 'watcher', host.metrics(), metric));
    host.hooks.onEvaluate.tap((metrics) => metrics);
  },
});
const train = (...plugins: Plugin[]) => new Trainer(smallRun({ steps: 1 }).with(...plugins)).train();

test('a metric that nobody gives is an error before training', async () => {
  await expect(train(watches('loss.held'))).rejects.toThrow(/METRIC_MISSING \(watcher\).*Nothing is evaluated/);
  await expect(train(gives('evaluation', ['loss.held', 'accuracy']), watches('val_loss'))).rejects.toThrow(
    /no evaluation gives val_loss\. Evaluations give loss\.held, accuracy/,
  );
  await train(gives('evaluation', ['loss.held']), watches('loss.held'));
});

test('where a plugin does not say what it gives, nothing can be said before', async () => {
  await train(gives('evaluation', ['loss.held']), gives('mine'), watches('anything'));
});

test('what an adopted plugin gives counts, also where another bears its name', async () => {
  const adopting = (): Plugin => ({ name: 'adopting', apply: (host) => host.adopt(gives('evaluation', ['accuracy'])) });
  await train(gives('evaluation', ['loss.held']), adopting(), watches('accuracy'));
  await expect(train(gives('evaluation', ['loss.held']), adopting(), watches('other'))).rejects.toThrow(
    /Evaluations give loss\.held, accuracy/,
  );
});

test('NaN and nothing are never better', () => {
  for (const value of [Number.NaN, undefined, Number.POSITIVE_INFINITY]) expect(betterThan(value, null)).toBe(false);
  expect(betterThan(1, null)).toBe(true);
  expect(betterThan(1, 2, { minDelta: 1 })).toBe(false);
  expect(betterThan(3, 2, { mode: 'max' })).toBe(true);
});
