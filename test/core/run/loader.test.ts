import { expect, test } from 'vitest';
import { DATA, type Plugin, type Source, Trainer } from '../../../core/index.js';
import * as tf from '../../../core/tf.js';
import { arrays } from '../../../plugins/data/arrays.js';
import { cpu } from '../../../plugins/devices/cpu.js';
import { examples, smallRun, stopAfter, weightsRecorder } from '../../support/small-run.js';

/** A device that is said to compute behind the host's back, data that tell of being loaded, and waits for other ranks. */
function background(broken = Number.POSITIVE_INFINITY) {
  const happened: string[] = [];
  const data = arrays(examples(10), { batchSize: 4 });
  const plugins: Plugin[] = [
    { ...cpu(), upload: () => void happened.push('sent') } as Plugin,
    {
      ...data,
      fills: DATA,
      async open(): Promise<Source> {
        const source = await data.open();
        let loads = 0;
        return {
          ...source,
          load(ids, more) {
            happened.push(`load ${more.epoch} ${ids.length}`);
            if (++loads === broken) throw new Error('no such file');
            return source.load(ids, more);
          },
        };
      },
    } as Plugin,
    {
      name: 'waits',
      apply({ hooks }) {
        hooks.onBatch.tap('waits', (batch) => {
          happened.push('batch');
          return batch;
        });
        hooks.onSync.tapPromise('waits', async (sum) => {
          await new Promise((resolve) => setTimeout(resolve, 20));
          happened.push('summed');
          return sum;
        });
      },
    },
  ];
  return { happened, plugins };
}

test('where the device computes behind the host, the next batch is loaded and sent while sums are awaited', async () => {
  const { happened, plugins } = background();
  const recorder = weightsRecorder();
  await new Trainer(smallRun({ steps: 4 }).with(...plugins, recorder.plugin)).train();
  // Two tensors a batch; the first is sent when it is used. The last step has no next one.
  const next = (what: string) => [what, 'sent', 'sent'];
  expect(happened).toEqual([
    ...['load 0 4', 'batch', ...next('load 0 4'), 'summed'],
    ...['batch', ...next('load 0 2'), 'summed'],
    ...['batch', ...next('load 1 4'), 'summed'],
    ...['batch', 'summed'],
  ]);
  const plain = weightsRecorder();
  await new Trainer(smallRun({ items: 10, steps: 4 }).with(plain.plugin)).train();
  expect(recorder.steps).toEqual(plain.steps);
});

test('a batch that was loaded for a step that never comes is freed, and one that fails is the error of its own step', async () => {
  const before = tf.memory().numTensors;
  const stopped = background();
  await new Trainer(smallRun({ steps: 6 }).with(...stopped.plugins, stopAfter(2))).train();
  expect(stopped.happened.filter((what) => what.startsWith('load'))).toHaveLength(3);
  const { happened, plugins } = background(3);
  await expect(new Trainer(smallRun({ steps: 6 }).with(...plugins)).train()).rejects.toThrow('no such file');
  expect(happened.filter((what) => what === 'summed')).toHaveLength(2);
  expect(tf.memory().numTensors).toBe(before);
});
