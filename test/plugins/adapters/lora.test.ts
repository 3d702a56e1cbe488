import { readFile } from 'node:fs/promises';
import { beforeAll, describe, expect, test } from 'vitest';
import {
  backward,
  type Model,
  type ModuleFacts,
  makeContext,
  type Parameter,
  Problems,
  seededRandom,
  type Tensor,
  type TensorData,
  weightsOf,
} from '../../../core/index.js';
import * as tf from '../../../core/tf.js';
import { mergeLora } from '../../../plugins/adapters/lora/merge.js';
import { loraModules, loraPaths, withLora } from '../../../plugins/adapters/lora/modules.js';
import { readLora, writeLora } from '../../../plugins/adapters/lora/serialize.js';
import { lora } from '../../../plugins/adapters/lora.js';
import { makeParameters } from '../../../plugins/models/layers/parameters.js';
import { unet2DCondition } from '../../../plugins/models/unet/unet2d-condition.js';
import { readSafetensors, writeSafetensors } from '../../../plugins/persist/formats/safetensors.js';
import { storedInMemory } from '../../../plugins/persist/formats/stored-tensors.js';
import { relativeGap, use } from '../../support/devices.js';

const fixture = (path: string) => readFile(new URL(`../../fixtures/unet-tiny/${path}`, import.meta.url));

async function tiny(): Promise<Model> {
  const unet = unet2DCondition(JSON.parse(await readFile(new URL('../../fixtures/unet-tiny/config.json', import.meta.url), 'utf8')));
  const raw = readSafetensors(await fixture('diffusion_pytorch_model.safetensors')).tensors;
  const tensors = storedInMemory(new Map([...raw].map(([name, value]) => [`unet.${name}`, value])));
  return {
    parameters: await makeParameters(unet.specs, { trainable: true, group: 'unet', random: seededRandom(0), tensors }),
    modules: unet.modules,
    wraps: new Map(),
    forward: (context, { sample, text }) => unet.forward(context, sample as Tensor, [17, 801], text as Tensor),
  };
}

/** Applies the plugin to a model, as the core would. */
async function applied(model: Model, options: Parameters<typeof lora>[0]) {
  const found = new Problems();
  let adapted = model;
  const hooks = {
    validate: { tap: (fn: (problems: Problems) => void) => fn(found) },
    prepareModel: {
      tap: (fn: (model: Model, problems: Problems) => Model) => {
        adapted = fn(model, found);
      },
    },
  };
  lora(options).apply({ hooks, resolve: () => seededRandom(1) } as never);
  return { adapted, problems: found.list };
}

const inputs = () => {
  const draw = (name: string, shape: number[]) =>
    tf.tensor(
      seededRandom(2)
        .named(name)
        .normals(new Float32Array(shape.reduce((a, b) => a * b, 1))),
      shape,
    );
  return { sample: draw('sample', [2, 8, 8, 3]), text: draw('text', [2, 5, 12]) };
};
const output = (model: Model) =>
  tf.tidy(() => model.forward(makeContext(model, { mode: 'evaluate', parameters: weightsOf(model) }), inputs())).data();
const ALL = [
  'to_q',
  'to_k',
  'to_v',
  'to_out.0',
  'ff.net.0.proj',
  'ff.net.2',
  'proj_in',
  'conv1',
  'conv_shortcut',
  'downsamplers.0.conv',
  'time_emb_proj',
];
const randomB = (model: Model) => {
  for (const [path, { variable }] of model.parameters)
    if (path.endsWith('lora_B.weight'))
      variable.assign(
        tf.tensor(
          seededRandom(3)
            .named(path)
            .normals(new Float32Array(variable.size))
            .map((x) => 0.2 * x),
          variable.shape,
        ) as tf.Tensor<tf.Rank>,
      );
};

beforeAll(() => use('wasm'));

test('the first output is the base model’s, whose weights are frozen', async () => {
  const model = await tiny();
  const { adapted, problems } = await applied(model, { rank: 3, targets: ALL });
  expect(problems).toEqual([]);
  expect(await output(adapted)).toEqual(await output(model));
  const trained = [...adapted.parameters].filter(([, p]) => p.trainable).map(([path]) => path);
  expect(trained.every((path) => path.includes('lora_'))).toBe(true);
  expect(trained).toHaveLength(2 * loraModules(adapted, weightsOf(adapted)).length);
});

test('A starts as peft has it: gaussian with std 1 / r, or kaiming', async () => {
  const std = async (start: 'gaussian' | 'kaiming') => {
    const { adapted } = await applied(await tiny(), { rank: 4, start, targets: ['ff.net.2'] });
    const values = [...adapted.parameters].filter(([path]) => path.includes('lora_A')).flatMap(([, p]) => [...p.variable.dataSync()]);
    return Math.sqrt(values.reduce((sum, x) => sum + x * x, 0) / values.length);
  };
  expect(await std('gaussian')).toBeCloseTo(0.25, 1);
  // Uniform within 1 / sqrt(64): its deviation is that by sqrt(3).
  expect(await std('kaiming')).toBeCloseTo(1 / Math.sqrt(64 * 3), 2);
});

test('dropout belongs to step, microBatch and layer, and to training', async () => {
  const model = await tiny();
  const { adapted } = await applied(model, { rank: 2, dropout: 0.5 });
  randomB(adapted);
  const run = (mode: 'train' | 'evaluate', step: number) =>
    tf
      .tidy(() =>
        adapted.forward(
          makeContext(adapted, { mode, parameters: weightsOf(adapted), drawHere: (name) => seededRandom(0).micro(name, step, 0) }),
          inputs(),
        ),
      )
      .dataSync();
  expect(run('train', 1)).toEqual(run('train', 1));
  expect(run('train', 2)).not.toEqual(run('train', 1));
  expect(run('evaluate', 1)).toEqual(run('evaluate', 2));
});

test.each([false, true])('merged weights give the adapted output, and unmerging the base’s (rslora %s)', async (rslora) => {
  const model = await tiny();
  const plain = await output(model);
  const { adapted } = await applied(model, { rank: 4, alpha: 3, rslora, targets: ALL });
  randomB(adapted);
  const wanted = await output(adapted);
  expect(relativeGap(wanted, plain)).toBeGreaterThan(0.05);
  const scale = 3 / (rslora ? 2 : 4);
  const modules = loraModules(adapted, weightsOf(adapted)).map((module) => ({ ...module, scale }));
  await mergeLora(model, modules);
  expect(relativeGap(await output(model), wanted)).toBeLessThan(1e-5);
  await mergeLora(model, modules, -1);
  expect(relativeGap(await output(model), plain)).toBeLessThan(1e-5);
});

test('patterns give modules their own rank and alpha; the first that fits counts, and files say it', async () => {
  const model = await tiny();
  const options = {
    rank: 2,
    alpha: 3,
    targets: ['to_q', 'ff.net.2'],
    rankPattern: { 'attn2.to_q': 4, to_q: 1 },
    alphaPattern: { 'ff.net.2': 8 },
  };
  const { adapted, problems } = await applied(model, options);
  expect(problems).toEqual([]);
  const back = readLora(await writeLora(adapted, weightsOf(adapted), options), model);
  for (const { path, a, rank, scale } of back) {
    const wanted = path.endsWith('ff.net.2') ? [2, 4] : path.endsWith('attn2.to_q') ? [4, 0.75] : [1, 3];
    expect([path, rank, scale, a.shape.at(-1)]).toEqual([path, ...wanted, wanted[0]]);
  }
  const wrong = await applied(model, { ...options, rankPattern: { to_k: 4 }, alphaPattern: { to_q: 0 } });
  expect(wrong.problems.map(({ code }) => code).sort()).toEqual(['OPTION_INVALID', 'TARGET_UNMATCHED']);
});

describe('DoRA', () => {
  const options = { rank: 4, alpha: 3, targets: ALL, dora: true };
  const randomMagnitudes = (model: Model) => {
    for (const [path, { variable }] of model.parameters)
      if (path.endsWith('lora_magnitude_vector')) variable.assign(variable.mul(tf.linspace(0.7, 1.4, variable.size)) as never);
  };

  test('starts as the base model; with other lengths it gives what the merged weights do, which cannot be unmerged', async () => {
    const model = await tiny();
    const plain = await output(model);
    const { adapted, problems } = await applied(model, options);
    expect(problems).toEqual([]);
    expect(relativeGap(await output(adapted), plain)).toBeLessThan(1e-5);
    randomB(adapted);
    const turned = await output(adapted);
    randomMagnitudes(adapted);
    const wanted = await output(adapted);
    expect(relativeGap(turned, plain)).toBeGreaterThan(0.02);
    expect(relativeGap(wanted, turned)).toBeGreaterThan(0.02);
    const back = readLora(await writeLora(adapted, weightsOf(adapted), options), model);
    await mergeLora(model, back);
    expect(relativeGap(await output(model), wanted)).toBeLessThan(1e-5);
    await expect(mergeLora(model, back, -1)).rejects.toThrow(/LORA_MISMATCH.*cannot be unmerged/);
  });

  test('half of an adapter is half of the difference that it makes to the weights', async () => {
    const model = await tiny();
    const { adapted } = await applied(model, { ...options, targets: ['to_q'] });
    randomB(adapted);
    randomMagnitudes(adapted);
    const [module] = loraModules(adapted, weightsOf(adapted));
    const { variable } = model.parameters.get(module.facts.weight) as Parameter;
    const weight = async (share: number) => {
      const before = variable.clone();
      await mergeLora(model, [{ ...module, scale: 0.75, share }]);
      const after = await variable.data();
      variable.assign(before as never);
      before.dispose();
      return after;
    };
    const [none, half, whole] = [await weight(0), await weight(0.5), await weight(1)];
    for (const [i, x] of half.entries()) expect(x).toBeCloseTo((none[i] + whole[i]) / 2, 5);
    // Each column has the length that it was given.
    const [, out] = module.facts.shape;
    const magnitudes = await (module.magnitude as Tensor).data();
    for (let o = 0; o < out; o++) {
      const length = Math.hypot(...whole.filter((_, i) => i % out === o));
      expect(length).toBeCloseTo(magnitudes[o], 4);
    }
  });

  test('the length is a constant on the way back: gradients are those of g (W + s B A) x with g held', async () => {
    const model = await tiny();
    const { adapted } = await applied(model, { ...options, targets: ['to_q'] });
    randomB(adapted);
    randomMagnitudes(adapted);
    const [{ path, facts, a, b, magnitude }] = loraModules(adapted, weightsOf(adapted));
    const [size, out] = facts.shape;
    const x = tf.randomNormal([3, size], 0, 1, 'float32', 5);
    const weight = (model.parameters.get(facts.weight) as Parameter).variable;
    const context = makeContext(adapted, { mode: 'train', parameters: weightsOf(adapted) });
    const paths = loraPaths(path);
    const { gradients, loss } = backward(
      () =>
        context
          .module(path, [x], ([given]) => tf.matMul(given as tf.Tensor2D, weight as tf.Tensor2D))
          .square()
          .sum() as tf.Scalar,
      { a: context.parameters[paths.a], b: context.parameters[paths.b], m: context.parameters[paths.magnitude] },
      () => 1,
    );
    const rows = (tensor: Tensor) => tensor.arraySync() as number[][];
    const [W, A, B, X] = [weight, a, b, x].map(rows);
    const M = Array.from((magnitude as Tensor).dataSync());
    const sum = W.map((row, i) => row.map((w, o) => w + 0.75 * A[i].reduce((all, value, r) => all + value * B[r][o], 0)));
    const length = M.map((_, o) => Math.hypot(...sum.map((row) => row[o])));
    const y = X.map((row) => M.map((m, o) => (m / length[o]) * row.reduce((all, value, i) => all + value * sum[i][o], 0)));
    expect(loss.dataSync()[0]).toBeCloseTo(
      y.flat().reduce((all, value) => all + value * value, 0),
      2,
    );
    const dm = M.map((m, o) => y.reduce((all, row) => all + (2 * row[o] * row[o]) / m, 0));
    const db = B.map((row, r) =>
      row.map((_, o) =>
        X.reduce(
          (all, values, n) => all + 2 * y[n][o] * (M[o] / length[o]) * 0.75 * values.reduce((of, value, i) => of + value * A[i][r], 0),
          0,
        ),
      ),
    );
    expect(relativeGap(Float32Array.from(gradients.m.dataSync()), Float32Array.from(dm))).toBeLessThan(1e-4);
    expect(relativeGap(Float32Array.from(gradients.b.dataSync()), Float32Array.from(db.flat()))).toBeLessThan(1e-4);
    expect(gradients.b.shape).toEqual([4, out]);
  });
});

test('a merge that is not finite is refused, and changes nothing', async () => {
  const model = await tiny();
  const { adapted } = await applied(model, { rank: 1 });
  const plain = await output(model);
  const modules = loraModules(adapted, weightsOf(adapted)).map((module) => ({ ...module, scale: 1 }));
  (adapted.parameters.get(loraPaths(modules.at(-1)?.path as string).b) as Parameter).variable.assign(
    tf.fill((modules.at(-1) as { b: Tensor }).b.shape, Number.POSITIVE_INFINITY) as never,
  );
  await expect(mergeLora(model, modules)).rejects.toThrow('LORA_NOT_FINITE');
  expect(await output(model)).toEqual(plain);
});

describe('files', () => {
  const keys = (bytes: Uint8Array) => [...readSafetensors(bytes).tensors.keys()].sort();

  test('attention alone is written under diffusers’ own keys, with alpha', async () => {
    const model = await tiny();
    const { adapted } = await applied(model, { rank: 2, alpha: 3 });
    randomB(adapted);
    const bytes = await writeLora(adapted, weightsOf(adapted), { rank: 2, alpha: 3 });
    expect(keys(bytes)).toEqual(keys(await fixture('pytorch_lora_weights_with_metadata.safetensors')));
    const back = readLora(bytes, model);
    for (const { rank, alpha, scale } of back) expect([rank, alpha, scale]).toEqual([2, 3, 1.5]);
    const again = withLora(
      model,
      back.map((m) => ({ ...m, group: 'unet', facts: model.modules.get(m.path) as never })),
    );
    expect(await output(again)).toEqual(await output(adapted));
  });

  test('with any other module the whole file uses peft’s keys', async () => {
    const model = await tiny();
    const { adapted } = await applied(model, { rank: 2, targets: [...ALL] });
    randomB(adapted);
    const bytes = await writeLora(adapted, weightsOf(adapted), { rank: 2, alpha: 2 });
    expect(keys(bytes).every((key) => /^unet\..*\.lora_[AB]\.weight$/.test(key))).toBe(true);
    const shape = readSafetensors(bytes).tensors.get('unet.down_blocks.0.downsamplers.0.conv.lora_A.weight')?.shape;
    expect(shape).toEqual([2, 8, 3, 3]);
    const back = readLora(bytes, model);
    const wanted = await output(adapted);
    await mergeLora(model, back);
    expect(relativeGap(await output(model), wanted)).toBeLessThan(1e-5);
  });

  test('mixed keys are read; without metadata the scale is 1; an alpha beside the matrices counts', async () => {
    const model = await tiny();
    const { tensors } = readSafetensors(await fixture('pytorch_lora_weights.safetensors'));
    for (const { scale } of readLora(await fixture('pytorch_lora_weights.safetensors'), model)) expect(scale).toBe(1);
    const mixed: Record<string, TensorData> = {};
    for (const [i, [key, value]] of [...tensors].entries())
      mixed[i % 4 < 2 ? key : key.replace('.lora.down.', '.lora_A.').replace('.lora.up.', '.lora_B.')] = value;
    const first = [...tensors.keys()][0].replace(/\.lora\..*/, '');
    expect(readLora(writeSafetensors(mixed), model)).toHaveLength(32);
    mixed[`${first}.alpha`] = { dtype: 'float32', shape: [], data: new Float32Array([6]) };
    // That module's alone: the others have a scale of 1.
    expect(readLora(writeSafetensors(mixed), model).map(({ scale }) => scale)).toEqual([3, ...new Array(31).fill(1)]);
  });
});

test('modules that nothing depends on are not adapted', async () => {
  const model = await tiny();
  const path = 'unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q';
  const modules = new Map(model.modules).set(path, { ...(model.modules.get(path) as ModuleFacts), unused: true });
  const { adapted, problems } = await applied({ ...model, modules }, { targets: ['to_q'] });
  const paths = loraModules(adapted, weightsOf(adapted)).map((module) => module.path);
  expect([problems, paths.includes(path), paths.length]).toEqual([[], false, 7]);
});

test('options that cannot be are refused, and targets that name nothing', async () => {
  const model = await tiny();
  expect((await applied(model, { rank: 0.5, alpha: -1, targets: [] })).problems).toHaveLength(3);
  expect((await applied(model, { targets: ['to_z', /nowhere/] })).problems).toHaveLength(2);
  const [problem, ...more] = (await applied(model, { textTargets: ['q_proj', 'v_proj'] })).problems;
  expect([problem.what, more]).toEqual(['the model has no module below "text_encoder"', []]);
});
