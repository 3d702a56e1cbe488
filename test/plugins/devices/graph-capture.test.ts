import { describe, expect, test } from 'vitest';
import {
  backward,
  compose,
  type GraphCapturer,
  MODEL,
  type Model,
  makeContext,
  OBJECTIVE,
  type Plugin,
  ReplayedPart,
  run,
  type Tensor,
  Trainer,
  type Wrap,
} from '../../../core/index.js';
import { lora } from '../../../plugins/adapters/lora.js';
import { arrays } from '../../../plugins/data/arrays.js';
import { tryDevice } from '../../../plugins/devices/choice/candidates.js';
import { silu } from '../../../plugins/devices/compute/activations.js';
import { operation } from '../../../plugins/devices/compute/contract.js';
import { device } from '../../../plugins/devices/device.js';
import { graphCapture } from '../../../plugins/devices/graph-capture.js';
import { planMemory } from '../../../plugins/devices/webgpu/memory-plan.js';
import { clipping } from '../../../plugins/gradients/clipping.js';
import { gradientCheckpointing } from '../../../plugins/gradients/gradient-checkpointing.js';
import { lossScaling } from '../../../plugins/gradients/loss-scaling.js';
import { nonFiniteGuard } from '../../../plugins/gradients/non-finite-guard.js';
import { Builder } from '../../../plugins/models/layers/builder.js';
import { adamw } from '../../../plugins/optimizers/adamw.js';
import { constant } from '../../../plugins/schedules/constant.js';
import { builtModel } from '../../support/built-model.js';
import { tf } from '../../support/devices.js';

const found = await tryDevice('webgpu');
const works = 'report' in found;
if (!works) console.log(`not tested here: graph capture on webgpu (${found.why})`);

const ITEMS = 3;
const SIDE = 4;

/** A small network of everything that large ones are made of, for which a software driver has few shaders to compile. */
const network = (): Plugin => ({
  name: 'network',
  fills: MODEL,
  async build(random): Promise<Model> {
    const build = new Builder('net.');
    const conv = build.conv('conv', 2, 4, 3);
    const norm = build.groupNorm('norm', 4, 2, 1e-5, true);
    const [up, down] = [build.linear('up', 4, 8), build.linear('down', 8, 4)];
    const block = build.block('block', (context, x: Tensor, bias: Tensor) => x.add(down(context, silu(up(context, x.add(bias))))));
    const whole = build.graph((context, x: Tensor, bias: Tensor) => block(context, norm(context, conv(context, x)), bias));
    return builtModel(build, random, (context, { x }) => whole(context, x as Tensor, tf.tensor1d([0.1, 0.2, 0.3, 0.4])));
  },
});

const squares = (): Plugin => ({
  name: 'squares',
  fills: OBJECTIVE,
  loss: (context, model, { tensors }) => model.forward(context, { x: tensors.x }).square().mean() as tf.Scalar,
});

/** Steps, the last of an epoch on a smaller batch. `calls`: how often the network's first module was called. */
async function trained(more: readonly Plugin[], wrap?: Wrap, side = SIDE) {
  const losses: unknown[] = [];
  const weights = new Map<string, Uint8Array>();
  const said: string[] = [];
  let calls = 0;
  const counted: Wrap = (_, inputs, next) => {
    calls++;
    return next(inputs);
  };
  const look: Plugin = {
    name: 'look',
    apply({ hooks, model }) {
      hooks.shouldLog.tap(() => true);
      hooks.onRecord.tap(({ loss }) => void losses.push(loss));
      hooks.prepareModel.tap((given) => ({
        ...given,
        wraps: new Map(given.wraps).set('net.conv', [counted, ...(wrap ? [wrap] : []), ...(given.wraps.get('net.conv') ?? [])]),
      }));
      hooks.onEnd.tapPromise(async () => {
        for (const [path, { variable, trainable }] of model().parameters)
          if (trainable) weights.set(path, new Uint8Array(new Float32Array(await variable.data()).buffer));
      });
    },
  };
  const size = side * side * 2;
  const x = {
    dtype: 'float32' as const,
    shape: [ITEMS, side, side, 2],
    data: Float32Array.from({ length: ITEMS * size }, (_, i) => Math.sin(i)),
  };
  const composition = compose(
    run({ steps: 4, learningRate: 1e-2, weightDecay: 0.01, seed: 3 }),
    device('webgpu'),
    network(),
    ...more,
    arrays({ x }, { batchSize: 2 }),
    squares(),
    adamw(),
    constant(),
    look,
  );
  const { numTensors } = tf.memory();
  await new Trainer(composition, { warn: (text) => void said.push(text) }).train();
  expect(tf.memory().numTensors).toBe(numTensors);
  expect(losses).toHaveLength(4);
  return { losses, weights, calls, said };
}

const adapted = (dropout = 0, rank = 2) => lora({ rank, targets: ['up', 'down', 'conv'], below: 'net.', dropout });

describe.runIf(works)('a model on webgpu', () => {
  test.each([
    ['LoRA', () => [adapted()]],
    ['LoRA, clipped and scaled', () => [adapted(0, 4), clipping(0.3), nonFiniteGuard(), lossScaling()]],
    ['all weights, checkpointed', () => [gradientCheckpointing()]],
  ] as [string, () => Plugin[]][])('learns the same to the last bit: %s', async (_, more) => {
    const eager = await trained(more());
    const captured = await trained([...more(), graphCapture()]);
    expect(captured.losses).toEqual(eager.losses);
    expect([...captured.weights.keys()]).toEqual([...eager.weights.keys()]);
    for (const [path, bytes] of eager.weights) expect(captured.weights.get(path), path).toEqual(bytes);
    expect(captured.said).toEqual([]);
    // Once a shape, in four steps.
    expect([eager.calls, captured.calls]).toEqual([4, 2]);
  });

  test('adds up slices of long sums by one dispatch at the end, to the same bits', async () => {
    const gpu = (tf.backend() as unknown as { device: GPUDevice }).device;
    const made: (string | undefined)[] = [];
    const { createComputePipeline } = gpu;
    gpu.createComputePipeline = (descriptor) => {
      made.push(descriptor.label);
      return createComputePipeline.call(gpu, descriptor);
    };
    try {
      const more = (): Plugin[] => [lora({ rank: 4, targets: ['up', 'down'], below: 'net.' }), clipping(0.3)];
      const eager = await trained(more(), undefined, 16);
      expect(made).not.toContain('deferred sums');
      const captured = await trained([...more(), graphCapture()], undefined, 16);
      expect(made).toContain('deferred sums');
      expect(captured.losses).toEqual(eager.losses);
      for (const [path, bytes] of eager.weights) expect(captured.weights.get(path), path).toEqual(bytes);
    } finally {
      gpu.createComputePipeline = createComputePipeline;
    }
  });

  const reading: Wrap = ({ parameters }, inputs, next) => {
    void parameters['net.norm.weight'].data();
    return next(inputs);
  };
  test.each([
    ['dropout', () => [adapted(0.3)], undefined, /net runs operation by operation: lora draws/],
    ['a wrap that reads', () => [adapted()], reading, /net runs operation by operation: look reads a tensor/],
  ] as [string, () => Plugin[], Wrap | undefined, RegExp][])('runs as ever with %s', async (_, more, wrap, why) => {
    const eager = await trained(more(), wrap);
    const refused = await trained([...more(), graphCapture()], wrap);
    expect(refused.losses).toEqual(eager.losses);
    for (const [path, bytes] of eager.weights) expect(refused.weights.get(path), path).toEqual(bytes);
    expect(refused.said).toEqual([expect.stringMatching(why)]);
  });
});

/** A part of one function, called with the weight `w`, and what it makes; `refused` collects why it could not be captured. */
function part(compute: (inputs: Tensor[], w: Tensor) => Tensor) {
  const w = tf.tidy(() => tf.variable(tf.tensor1d([1, 2, 3])));
  const refused: string[] = [];
  let calls = 0;
  const capturer = (operation('graphCapturer') as () => GraphCapturer)();
  const replayed = new ReplayedPart(capturer, (why) => void refused.push(why));
  const model: Model = {
    parameters: new Map([['w', { variable: w, trainable: true, group: 'main' }]]),
    modules: new Map(),
    wraps: new Map([['part', [replayed.wrap]]]),
    forward: () => w,
  };
  const context = makeContext(model, { mode: 'train', parameters: { w } });
  const call = (...inputs: Tensor[]) =>
    context.module('part', inputs, (given) => {
      calls++;
      return compute(given, w);
    });
  /** The loss, and the gradients of w and of more. */
  const pass = async (loss: () => Tensor, more: Record<string, Tensor> = {}) => {
    const { loss: value, gradients } = backward(
      () => loss().sum() as tf.Scalar,
      { w, ...more },
      () => 1,
    );
    const values = await Promise.all([value, ...Object.values(gradients)].map(async (tensor) => [...(await tensor.data())]));
    tf.dispose([value, ...Object.values(gradients)]);
    return values;
  };
  return {
    w,
    call,
    pass,
    refused,
    calls: () => calls,
    dispose() {
      replayed.dispose();
      w.dispose();
    },
  };
}

describe.runIf(works)('a part of a model', () => {
  test('follows weights that are replaced, gives its inputs’ gradients, and frees what it takes', async () => {
    const gpu = (tf.backend() as unknown as { device: GPUDevice }).device;
    const { createBuffer } = gpu;
    const alive = new Set<GPUBuffer>();
    gpu.createBuffer = (descriptor) => {
      const buffer = createBuffer.call(gpu, descriptor);
      if (!descriptor.label?.includes('graph')) return buffer;
      const { destroy } = buffer;
      alive.add(buffer);
      buffer.destroy = () => {
        alive.delete(buffer);
        destroy.call(buffer);
      };
      return buffer;
    };
    const one = part(([x, y], w) => x.mul(w).add(y.square()).mul(2));
    try {
      const [x, y] = [tf.tensor1d([1, -1, 2]), tf.tensor1d([3, 4, 5])];
      const passed = () => one.pass(() => one.call(x, y), { x });
      expect(await passed()).toEqual([[110], [2, -2, 4], [2, 4, 6]]);
      const { numTensors } = tf.memory();
      const { numBytesInGPU } = tf.memory() as unknown as { numBytesInGPU: number };
      expect(await passed()).toEqual([[110], [2, -2, 4], [2, 4, 6]]);
      const three = tf.tensor1d([3, 3, 3]);
      one.w.assign(three);
      three.dispose();
      expect(await passed()).toEqual([[112], [2, -2, 4], [6, 6, 6]]);
      expect(tf.memory()).toMatchObject({ numTensors, numBytesInGPU });
      expect(one.calls()).toBe(1);
      // Without a tape it is another graph; a number for all is another shape.
      const result = tf.tidy(() => one.call(x, y));
      expect([...(await result.data())]).toEqual([24, 26, 62]);
      const scalar = tf.scalar(1);
      expect(await one.pass(() => one.call(scalar, y))).toEqual([[118], [2, 2, 2]]);
      expect(one.calls()).toBe(3);
      // The same numbers as on no graph, where one tensor is given twice, or used again.
      expect(await one.pass(() => one.call(x, x).add(x), { x })).toEqual([[26], [2, -2, 4], [11, 3, 15]]);
      expect(alive.size).toBeGreaterThan(0);
      tf.dispose([x, y, scalar, result]);
      expect(one.refused).toEqual([]);
    } finally {
      one.dispose();
      gpu.createBuffer = createBuffer;
    }
    expect(alive.size).toBe(0);
  });

  test('that is called twice on one tape is replayed once, and adds up gradients in the order of operations', async () => {
    const one = part(([x], w) => x.mul(w));
    const [x, y] = [tf.tensor1d([1, 2, 3]), tf.tensor1d([4, 5, 6])];
    for (let round = 0; round < 2; round++) expect(await one.pass(() => one.call(x).add(one.call(y)))).toEqual([[46], [5, 7, 9]]);
    // Once to capture it; in each round the second call, and the first again, as there is a gradient of w when it is reached.
    expect(one.calls()).toBe(5);
    tf.dispose([x, y]);
    one.dispose();
  });

  const outside = tf.tensor1d([1, 1, 1]);
  test.each([
    ['uses a tensor that it was not given', ([x], w) => x.mul(w).add(outside)],
    [
      'draws a random number',
      ([x], w) => {
        tf.randomUniform([3]);
        return x.mul(w).add(1);
      },
    ],
    [
      'changes a variable',
      ([x], w) => {
        (w as tf.Variable).assign(tf.tidy(() => w.mul(1)));
        return x.mul(w).add(1);
      },
    ],
    [
      'reads a tensor',
      ([x], w) => {
        const y = x.mul(w);
        try {
          y.dataSync();
        } catch {}
        return y.add(1);
      },
    ],
  ] as [string, (inputs: Tensor[], w: Tensor) => Tensor][])('that %s runs as ever', async (why, compute) => {
    const one = part(compute);
    const x = tf.tensor1d([1, 2, 3]);
    for (let round = 0; round < 2; round++) expect(await one.pass(() => one.call(x))).toEqual([[17], [1, 2, 3]]);
    expect(one.refused).toEqual([`it ${why}`]);
    expect(one.calls()).toBe(3);
    x.dispose();
    one.dispose();
  });

  test('whose computation fails leaves TensorFlow.js as it was', async () => {
    const one = part(([x], w) => {
      x.mul(w);
      throw new Error('as it happens');
    });
    const x = tf.tensor1d([1, 2, 3]);
    const { numTensors } = tf.memory();
    await expect(one.pass(() => one.call(x))).rejects.toThrow('as it happens');
    expect(tf.memory().numTensors).toBe(numTensors);
    const doubled = x.mul(2);
    expect([...(await doubled.data())]).toEqual([2, 4, 6]);
    tf.dispose([x, doubled]);
    one.dispose();
  });
});

test('memory is planned without overlaps, and hardly more of it than is needed at one time', () => {
  // What is kept for the way back, and what goes at once, of three sizes by turns.
  const spans = Array.from({ length: 100 }, (_, i) => ({
    size: 4 ** (1 + (i % 3)),
    first: i,
    last: i % 2 ? i + 2 : 200 - i,
  }));
  const { at, sizes } = planMemory(spans, [8, 1000]);
  expect(sizes.slice(0, 2)).toEqual([8, 1000]);
  for (const [i, a] of spans.entries()) {
    expect(sizes[at[i]]).toBeGreaterThanOrEqual(a.size);
    for (const [j, b] of spans.entries()) if (i < j && at[i] === at[j]) expect(a.last < b.first || b.last < a.first).toBe(true);
  }
  const sum = (numbers: readonly number[]) => numbers.reduce((all, one) => all + one, 0);
  const neededAt = (moment: number) => sum(spans.map(({ size, first, last }) => (first <= moment && moment <= last ? size : 0)));
  const needed = Math.max(...Array.from({ length: 201 }, (_, moment) => neededAt(moment)));
  expect(sum(planMemory(spans, []).sizes)).toBeLessThan(1.1 * needed);
});
