import { expect, test } from 'vitest';
import { compose, MODEL, type Plugin, run, Trainer } from '../../../core/index.js';
import * as tf from '../../../core/tf.js';
import { arrays } from '../../../plugins/data/arrays.js';
import { cpu } from '../../../plugins/devices/cpu.js';
import { adamw } from '../../../plugins/optimizers/adamw.js';
import { constant } from '../../../plugins/schedules/constant.js';
import { examples, linearModel, squaredError } from '../../support/small-run.js';

/** The linear model with weights beside it that its forward pass never uses. */
const withIdle = (trainable: boolean): Plugin => ({
  name: 'linear-model',
  fills: MODEL,
  async build(random) {
    const model = await (linearModel() as Extract<Plugin, { fills: typeof MODEL }>).build(random);
    const idle = ['head.weight', 'head.bias'].map(
      (path) => [path, { variable: tf.tidy(() => tf.variable(tf.zeros([2]))), trainable, group: 'main' }] as const,
    );
    return { ...model, parameters: new Map([...model.parameters, ...idle]) };
  },
});

const train = (trainable: boolean) =>
  new Trainer(
    compose(
      run({ learningRate: 0.1, steps: 2, seed: 0 }),
      cpu(),
      withIdle(trainable),
      squaredError(),
      arrays(examples(4), { batchSize: 2 }),
      adamw(),
      constant(),
    ),
  ).train();

test('what is trained and takes no part in the loss is named in the first step; what is frozen may stand by', async () => {
  const before = tf.memory().numTensors;
  await expect(train(true)).rejects.toThrow(
    /NO_GRADIENT \(core\): the loss does not depend on what is to be trained: head\.weight, head\.bias/,
  );
  await train(false);
  expect(tf.memory().numTensors).toBe(before);
});
