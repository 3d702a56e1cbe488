import { expect, test } from 'vitest';
import { type Plugin, Trainer } from '../../../core/index.js';
import * as tf from '../../../core/tf.js';
import { arrays } from '../../../plugins/data/arrays.js';
import { evaluation } from '../../../plugins/observe/evaluation.js';
import { progress } from '../../../plugins/observe/progress.js';
import { examples, smallRun, weightsRecorder } from '../../support/small-run.js';

const to = (isTTY: boolean, columns = 80) => {
  const said: string[] = [];
  return { isTTY, columns, write: (text: string) => void said.push(text), said };
};

test('a line has the mean of the steps since the line before', async () => {
  const stream = to(false);
  const losses = weightsRecorder();
  await new Trainer(smallRun({ steps: 6 }).with(losses.plugin, progress({ every: 3, stream }))).train();
  const mean = (list: readonly number[]) => (list.reduce((a, b) => a + b) / list.length).toPrecision(4);
  expect(stream.said.map((line) => /^(step \d\/6) {2}loss (\S+) /.exec(line)?.slice(1))).toEqual([
    ['step 3/6', mean(losses.losses.slice(0, 3))],
    ['step 6/6', mean(losses.losses.slice(3))],
  ]);
});

test('a bar fits its terminal, metrics have lines of their own, and so has the prompt afterwards', async () => {
  const before = tf.memory().numTensors;
  for (const columns of [80, 40, 12]) {
    const stream = to(true, columns);
    const held = evaluation(arrays(examples(4), { batchSize: 4, shuffle: false }), { every: 2 });
    await new Trainer(smallRun({ steps: 4 }).with(held, progress({ every: 1, stream }))).train();
    const text = stream.said.join('');
    // As a terminal shows it: what is behind the last return of a line.
    const lines = text.split('\n').map((line) => line.split('\r\u001b[K').at(-1) as string);
    expect(lines.map((line) => /^step [24]\/4 {2}loss.held \d/.test(line))).toEqual([true, true, false, false]);
    for (const one of text.replaceAll('\r\u001b[K', '\n').split('\n'))
      if (!one.startsWith('step')) expect(one.length).toBeLessThan(columns);
    expect(lines[2]).toContain('4/4');
    if (columns === 80) expect(lines[2]).toMatch(/^█+ 4\/4 {2}loss \S+ {2}rate 0.0500 {2}\S+ it\/s {2}0 s left$/);
    expect(lines[3]).toBe('');
  }
  expect(tf.memory().numTensors).toBe(before);
});

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
