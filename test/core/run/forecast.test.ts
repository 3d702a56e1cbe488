import { describe, expect, test } from 'vitest';
import { compose, MODEL, type Model, OBJECTIVE, type Plugin, run, type Tensor, Trainer, type Wrap } from '../../../core/index.js';
import * as tf from '../../../core/tf.js';
import { lora } from '../../../plugins/adapters/lora.js';
import { arrays } from '../../../plugins/data/arrays.js';
import { tryDevice } from '../../../plugins/devices/choice/candidates.js';
import { silu } from '../../../plugins/devices/compute/activations.js';
import { device } from '../../../plugins/devices/device.js';
import { graphCapture } from '../../../plugins/devices/graph-capture.js';
import { Builder } from '../../../plugins/models/layers/builder.js';
import { adamw } from '../../../plugins/optimizers/adamw.js';
import { builtModel } from '../../support/built-model.js';
import '../../support/devices.js';

const found = await tryDevice('webgpu');
const works = 'report' in found;
if (!works) console.log(`not tested here: what is forecast on webgpu (${found.why})`);

const SIDE = 32;
const CHANNELS = 4;
const BATCH = 2;

/** Blocks one after another, of few kinds of shaders. */
const network = (): Plugin => ({
  name: 'network',
  fills: MODEL,
  async build(random): Promise<Model> {
    const build = new Builder('net.');
    const blocks = Array.from({ length: 4 }, (_, i) => {
      const [up, down] = [build.linear(`${i}.up`, CHANNELS, 2 * CHANNELS), build.linear(`${i}.down`, 2 * CHANNELS, CHANNELS)];
      return build.block(`${i}`, (context, x: Tensor) => x.add(down(context, silu(up(context, x)))));
    });
    const whole = build.graph((context, x: Tensor) => blocks.reduce((y, block) => block(context, y), x));
    return builtModel(build, random, (context, { x }) => whole(context, x as Tensor));
  },
});

const squares = (): Plugin => ({
  name: 'squares',
  fills: OBJECTIVE,
  loss: (context, model, { tensors }) => model.forward(context, { x: tensors.x }).square().mean() as tf.Scalar,
  trial: () => ({
    side: SIDE,
    least: 1,
    named: (side) => `${side} pixels`,
    atMost: { kept: 0, largest: 0 },
    loss: (context, model, items, side) =>
      model
        .forward(context, { x: tf.zeros([items, side, side, CHANNELS]) })
        .square()
        .mean() as tf.Scalar,
  }),
});

/** A plugin whose wrap reads what it is given. */
const curious = (): Plugin => ({
  name: 'curious',
  apply({ hooks }) {
    const look: Wrap = (_, inputs, next) => {
      // It may be gone by then.
      void inputs[0].data().catch(() => undefined);
      return next(inputs);
    };
    hooks.prepareModel.tap((model) => ({ ...model, wraps: new Map(model.wraps).set('net.1.down', [look]) }));
  },
});

/** What is recorded is sent in larger and larger parts, which hold memory until then: from the fifth step on in the largest. */
const job = (more: readonly Plugin[], { steps = 6, memory }: { steps?: number; memory?: number } = {}) =>
  compose(
    run({ learningRate: 1e-3, steps }),
    device('webgpu', memory === undefined ? {} : { memory }),
    network(),
    arrays(
      { x: { dtype: 'float32', shape: [BATCH, SIDE, SIDE, CHANNELS], data: new Float32Array(BATCH * SIDE * SIDE * CHANNELS).fill(0.5) } },
      { batchSize: BATCH },
    ),
    squares(),
    adamw(),
    ...more,
  );

/** Counts the bytes of the buffers that the device makes, and of those that are free for others when it begins. */
async function whileCounted<T>(work: (most: () => number) => Promise<T>): Promise<T> {
  // Nothing of others is on its way.
  const last = tf.ones([4096]).mul(2);
  await last.data();
  last.dispose();
  const { device: gpu, bufferManager } = tf.backend() as unknown as {
    device: GPUDevice;
    bufferManager: { trim(): void; numBytesUsed: number };
  };
  bufferManager.trim();
  const { createBuffer } = gpu;
  let held = bufferManager.numBytesUsed;
  let most = held;
  gpu.createBuffer = (descriptor) => {
    const buffer = createBuffer.call(gpu, descriptor);
    const { size, destroy } = buffer;
    held += size;
    most = Math.max(most, held);
    buffer.destroy = () => {
      held -= size;
      destroy.call(buffer);
    };
    return buffer;
  };
  try {
    return await work(() => most);
  } finally {
    gpu.createBuffer = createBuffer;
  }
}

describe.runIf(works)('on webgpu', () => {
  test.each([
    ['operation by operation', () => []],
    ['captured', () => [graphCapture()]],
  ] as [string, () => Plugin[]][])('a step’s memory is known before it: %s', (_, more) =>
    whileCounted(async (most) => {
      const { numTensors } = tf.memory();
      const trainer = new Trainer(job(more()));
      const { forecast, text } = await trainer.explain();
      const before = most();
      const bytes = forecast?.memory?.bytes ?? 0;
      // Nothing was made for it.
      expect(before).toBeLessThan(bytes / 2);
      expect(text).toMatch(/memory of a step {6}\S+ MiB at its peak; the largest piece has 0.0625 MiB/);
      await trainer.train();
      expect(Math.abs(bytes / most() - 1)).toBeLessThan(0.1);
      expect(tf.memory().numTensors).toBe(numTensors);
    }),
  );

  test('a step that does not fit ends the run before it, and what fits is said', async () => {
    const explained = async (memory?: number) => {
      const trainer = new Trainer(job([graphCapture()], memory === undefined ? {} : { memory }));
      try {
        return (await trainer.explain()).forecast?.memory?.bytes ?? 0;
      } finally {
        await trainer.dispose();
      }
    };
    const needed = (await explained()) / 2 ** 30;
    expect(await explained(1.001 * needed)).toBeGreaterThan(0);
    await expect(explained(0.999 * needed)).rejects.toThrow(
      /OUT_OF_MEMORY.*a microBatch of 2 at 32 pixels needs \S+ GiB.*the device has.*room for gradient checkpointing, or for a batch of 1 with gradient accumulation of 2, or for a resolution of \d+ pixels/,
    );
  });

  test.each([
    ['nothing', () => [], null],
    ['a tensor that is read', () => [curious()], 'curious reads a tensor'],
    ['dropout', () => [lora({ rank: 2, targets: ['up'], below: 'net.', dropout: 0.5 })], 'lora draws dropout:net.0.up'],
  ] as [string, () => Plugin[], string | null][])(
    'what keeps a step from being captured is said by its plugin: %s',
    async (_, more, why) => {
      const said: string[] = [];
      const trainer = new Trainer(job([...more(), graphCapture()], { steps: 1 }), { warn: (text) => void said.push(text) });
      const { forecast, text } = await trainer.explain();
      expect(forecast?.graphs).toEqual([{ path: 'net', why }]);
      expect(text).toContain(`  graph capture         net ${why === null ? 'is captured' : `runs operation by operation: ${why}`}`);
      await trainer.train();
      // Once, before the first step.
      expect(said).toEqual(why === null ? [] : [`graph-capture: net runs operation by operation: ${why}`]);
    },
  );
});
