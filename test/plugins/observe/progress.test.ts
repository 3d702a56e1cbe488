import { expect, test } from 'vitest';
import { type Plugin, Trainer } from '../../../core/index.js';
import { progress } from '../../../plugins/observe/progress.js';
import { smallRun } from '../../support/small-run.js';

test('what a metric is called moves no cursor', async () => {
  let said = '';
  const metric: Plugin = {
    name: 'metric',
    apply({ hooks }) {
      hooks.onRequest.tap((requests) => ({ ...requests, evaluate: 1 }));
      hooks.onEvaluate.tap((metrics) => ({ ...metrics, 'a\u001b[2Jb': 1 }));
    },
  };
  const stream = {
    write: (text: string) => {
      said += text;
    },
  };
  await new Trainer(smallRun({ steps: 2 }).with(metric, progress({ every: 1, stream }))).train();
  expect(said).toContain('a\\u001b[2Jb 1.000');
  expect(said).not.toContain('\u001b');
});
