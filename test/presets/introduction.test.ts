import { expect, test } from 'vitest';
import { Trainer } from '../../core/index.js';
import { introduction } from '../../presets/common/introduction.js';
import { smallRun } from '../support/small-run.js';

test('a run says what it is, and after some steps how long it will take', async () => {
  const said: string[] = [];
  await new Trainer(
    smallRun({ steps: 120 }).with(introduction({ outputDir: 'runs/x', trainDataDir: 'mine' }, (text) => said.push(text))),
  ).train();
  expect(said.slice(0, -1)).toEqual([
    'model    one of your own',
    'images   12 in mine',
    'trained  6 of 6 parameters',
    'batch    4 = 4 x accumulation 1 x processes 1',
    'length   120 steps, 40 epochs of 3',
    'memory   0.0000229 MiB of weights, 0.0000610 MiB of the optimizer, and what a step takes',
    'output   runs/x',
  ]);
  expect(said.at(-1)).toMatch(/^time {5}about \d+ s for the 90 steps that are left$/);
});

test('short runs do not say how long they take', async () => {
  const said: string[] = [];
  await new Trainer(smallRun({ steps: 40 }).with(introduction({ outputDir: 'x', datasetName: 'a/b' }, (text) => said.push(text)))).train();
  expect(said.at(-1)).toBe('output   x');
  expect(said[1]).toBe('images   12 in a/b');
});
