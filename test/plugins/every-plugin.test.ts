import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type AnyPlugin, type Composition, compose, type Filling, type Plugin, run, Trainer } from '../../core/index.js';
import * as tf from '../../core/tf.js';
import { lora } from '../../plugins/adapters/lora.js';
import { arrays } from '../../plugins/data/arrays.js';
import { augmentation } from '../../plugins/data/augmentation.js';
import { cachedLatents } from '../../plugins/data/cached-latents.js';
import { imageFolder } from '../../plugins/data/image-folder.js';
import { limitItems } from '../../plugins/data/limit-items.js';
import { parquetPictures } from '../../plugins/data/parquet-pictures.js';
import { stream } from '../../plugins/data/stream.js';
import { type DeviceName, tryDevice } from '../../plugins/devices/choice/candidates.js';
import { cpu } from '../../plugins/devices/cpu.js';
import { device } from '../../plugins/devices/device.js';
import { graphCapture } from '../../plugins/devices/graph-capture.js';
import { tfjsNode } from '../../plugins/devices/tfjs-node.js';
import { tfjsNodeGpu } from '../../plugins/devices/tfjs-node-gpu.js';
import { wasm } from '../../plugins/devices/wasm.js';
import { webgpu } from '../../plugins/devices/webgpu.js';
import { distributed } from '../../plugins/distributed/distributed.js';
import { mpi } from '../../plugins/distributed/mpi.js';
import { accumulation } from '../../plugins/gradients/accumulation.js';
import { clipping } from '../../plugins/gradients/clipping.js';
import { gradientCheckpointing } from '../../plugins/gradients/gradient-checkpointing.js';
import { lossScaling } from '../../plugins/gradients/loss-scaling.js';
import { nonFiniteGuard } from '../../plugins/gradients/non-finite-guard.js';
import { autoencoderModel } from '../../plugins/models/autoencoder-model.js';
import { functionModel } from '../../plugins/models/function-model.js';
import { textToImageModel } from '../../plugins/models/text-to-image-model.js';
import { autoencoding } from '../../plugins/objectives/autoencoding.js';
import { denoising } from '../../plugins/objectives/denoising.js';
import { csv } from '../../plugins/observe/csv.js';
import { earlyStopping } from '../../plugins/observe/early-stopping.js';
import { jsonl } from '../../plugins/observe/jsonl.js';
import { mlflow } from '../../plugins/observe/mlflow.js';
import { progress } from '../../plugins/observe/progress.js';
import { samples } from '../../plugins/observe/samples.js';
import { summary } from '../../plugins/observe/summary.js';
import { tensorboard } from '../../plugins/observe/tensorboard.js';
import { ui } from '../../plugins/observe/ui.js';
import { adafactor } from '../../plugins/optimizers/adafactor.js';
import { adamw } from '../../plugins/optimizers/adamw.js';
import { adamw8bit } from '../../plugins/optimizers/adamw8bit.js';
import { BIASES_AND_NORMS, groups } from '../../plugins/optimizers/groups.js';
import { lion } from '../../plugins/optimizers/lion.js';
import { prodigy } from '../../plugins/optimizers/prodigy.js';
import { sgd } from '../../plugins/optimizers/sgd.js';
import { checkpoint } from '../../plugins/persist/checkpoint.js';
import { folder as filesIn } from '../../plugins/persist/formats/folder.js';
import { readSnapshot, writeSnapshot } from '../../plugins/persist/formats/snapshot-files.js';
import { pushToHub } from '../../plugins/persist/push-to-hub.js';
import { runFolder } from '../../plugins/persist/run-folder.js';
import { saveAutoencoder } from '../../plugins/persist/save-autoencoder.js';
import { saveLora } from '../../plugins/persist/save-lora.js';
import { saveModel } from '../../plugins/persist/save-model.js';
import { ddim } from '../../plugins/samplers/ddim.js';
import { dpmSolverPlusPlus } from '../../plugins/samplers/dpm-solver-plus-plus.js';
import { euler } from '../../plugins/samplers/euler.js';
import { eulerAncestral } from '../../plugins/samplers/euler-ancestral.js';
import { constant } from '../../plugins/schedules/constant.js';
import { cosine } from '../../plugins/schedules/cosine.js';
import { cosineWithRestarts } from '../../plugins/schedules/cosine-with-restarts.js';
import { inverseSqrt } from '../../plugins/schedules/inverse-sqrt.js';
import { linear } from '../../plugins/schedules/linear.js';
import { oneCycle } from '../../plugins/schedules/one-cycle.js';
import { piecewiseConstant } from '../../plugins/schedules/piecewise-constant.js';
import { polynomial } from '../../plugins/schedules/polynomial.js';
import { reduceOnPlateau } from '../../plugins/schedules/reduce-on-plateau.js';
import { sequence } from '../../plugins/schedules/sequence.js';
import { warmup } from '../../plugins/schedules/warmup.js';
import { warmupStableDecay } from '../../plugins/schedules/warmup-stable-decay.js';
import { ema } from '../../plugins/weights/ema.js';
import { classPictures } from '../../presets/common/class-pictures.js';
import { fastDevRun } from '../../presets/common/fast-dev-run.js';
import { introduction } from '../../presets/common/introduction.js';
import { notice } from '../../presets/common/notice.js';
import { putBack } from '../../presets/common/put-back.js';
import { emojiFigures } from '../../presets/emoji/figures.js';
import { galleriesOf } from '../../presets/emoji/judge.js';
import { type Columns, type SupervisedPresetOptions, supervised } from '../../presets/supervised.js';
import { smallModel } from '../support/small-model.js';
import '../support/devices.js';
import { memoryStore, stopAfter, weightsRecorder } from '../support/small-run.js';

let out: string;
beforeAll(async () => {
  out = await mkdtemp(join(tmpdir(), 'steploom-'));
  const rows: string[] = [];
  for (let i = 0; i < 5; i++) {
    await sharp({ create: { width: 20 + i, height: 18, channels: 3, background: { r: 50 * i, g: 100, b: 200 } } }).toFile(
      join(out, `${i}.png`),
    );
    rows.push(JSON.stringify({ file_name: `${i}.png`, text: i % 2 ? 'red' : 'heart' }));
  }
  await writeFile(join(out, 'metadata.jsonl'), rows.join('\n'));
});
afterAll(() => rm(out, { recursive: true }));

const quiet = { isTTY: false, write: () => true };
const sampling = { sampler: ddim(), steps: 2, guidance: 2 };
const images = () => ({
  dtype: 'float32' as const,
  shape: [5, 16, 16, 3],
  data: Float32Array.from({ length: 5 * 768 }, (_, i) => Math.sin(i)),
});

/** A small diffusion job; every plugin is put into it in turn. */
function job(more: object = {}): ReturnType<typeof compose> {
  const model = smallModel(['red', 'heart'], 1);
  const textEncoder = { ...model.textEncoder, hidden_size: 16, intermediate_size: 32 };
  // What has attention is the middle.
  const level = { block_out_channels: [4], down_block_types: ['DownBlock2D'], up_block_types: ['UpBlock2D'] };
  const unet = { ...model.unet, ...level, norm_num_groups: 2, sample_size: 8, cross_attention_dim: 16, ...more } as typeof model.unet;
  return compose(
    run({ learningRate: 1e-2, steps: 6, warmupSteps: 2, seed: 4 }),
    wasm({ threads: 1 }),
    textToImageModel({ from: { ...model, unet, textEncoder }, train: 'unet' }),
    arrays({ images: images() }, { batchSize: 2, strings: { text: ['red', 'heart', 'red', 'heart', 'red'] } }),
    denoising({ captionDropout: 0.3, noiseOffset: 0.1, snrGamma: 5 }),
    adamw(),
    constant(),
  );
}

/** A table of three pictures, twice. */
const TABLES = {
  files: filesIn(fileURLToPath(new URL('../fixtures/pictures', import.meta.url))),
  paths: ['dataset.parquet', 'dataset.parquet'],
  imageColumn: 'image',
  captionColumn: 'text',
};

/** A port that nobody may ask. */
const NOWHERE = 'http://127.0.0.1:9';

/** Every plugin shipped, by its file; a new file without an entry fails. */
const plugins: Record<string, () => AnyPlugin[]> = {
  'adapters/lora.ts': () => [lora({ rank: 2, dropout: 0.2, targets: ['to_q', 'conv1'], textTargets: ['q_proj'] })],
  'data/arrays.ts': () => [],
  'data/cached-latents.ts': () => [
    textToImageModel({ from: filesIn(fileURLToPath(new URL('../fixtures/pipelines/sd15', import.meta.url))), train: 'unet' }),
    cachedLatents(imageFolder(out, { batchSize: 2, resolution: 16, centerCrop: true, randomFlip: true })),
  ],
  'data/image-folder.ts': () => [imageFolder(out, { batchSize: 2, resolution: 16, randomFlip: true })],
  'data/parquet-pictures.ts': () => [parquetPictures(TABLES, { batchSize: 2, resolution: 16, bufferSize: 3, randomFlip: true })],
  'data/limit-items.ts': () => [limitItems(3)],
  'devices/device.ts': () => [device('wasm')],
  'devices/wasm.ts': () => [],
  'devices/graph-capture.ts': () => [graphCapture()],
  'gradients/accumulation.ts': () => [accumulation(2)],
  'gradients/clipping.ts': () => [clipping(0.1)],
  'gradients/gradient-checkpointing.ts': () => [lora({ rank: 2, dropout: 0.2 }), gradientCheckpointing()],
  'gradients/loss-scaling.ts': () => [nonFiniteGuard(), lossScaling({ growthInterval: 2 })],
  'gradients/non-finite-guard.ts': () => [nonFiniteGuard()],
  'models/text-to-image-model.ts': () => [],
  'objectives/denoising.ts': () => [],
  'observe/samples.ts': () => [samples(['red'], out, sampling)],
  'optimizers/adamw.ts': () => [],
  'optimizers/adafactor.ts': () => [adafactor()],
  'optimizers/adamw8bit.ts': () => [adamw8bit({ min8bitSize: 16 })],
  'optimizers/groups.ts': () => [
    groups(adamw(), { flat: { match: BIASES_AND_NORMS, weightDecay: 0 }, first: { match: 'conv_in.*', rateFactor: 0.5, optimizer: lion } }),
  ],
  'optimizers/lion.ts': () => [lion()],
  'optimizers/prodigy.ts': () => [prodigy({ d0: 1e-3 })],
  'optimizers/sgd.ts': () => [sgd({ momentum: 0.9, nesterov: true })],
  'persist/push-to-hub.ts': () => [
    lora({ rank: 2 }),
    saveLora(out, { rank: 2, alpha: 2 }),
    pushToHub(out, { settings: { endpoint: NOWHERE, home: out, cache: out, token: 'one', offline: false }, pause: async () => undefined }),
  ],
  'persist/save-lora.ts': () => [lora({ rank: 2 }), saveLora(out, { rank: 2, alpha: 2 })],
  'persist/save-model.ts': () => [saveModel(out)],
  'samplers/ddim.ts': () => [ddim({ eta: 0.5 }), samples(['red'], out, { steps: 2, guidance: 2 })],
  'samplers/dpm-solver-plus-plus.ts': () => [dpmSolverPlusPlus(), samples(['red'], out, { steps: 2, guidance: 1 })],
  'samplers/euler.ts': () => [euler({ karras: true }), samples(['red'], out, { steps: 2, guidance: 2, guidanceRescale: 0.7 })],
  'samplers/euler-ancestral.ts': () => [
    eulerAncestral(),
    samples(['red'], out, { steps: 2, guidance: 2, negativePrompt: 'heart', imagesPerPrompt: 2, height: 10 }),
  ],
  'weights/ema.ts': () => [ema({ decay: 0.5 })],
};

/** A small autoencoder on the same pictures. */
const autoencoderJob = (...more: AnyPlugin[]) =>
  job().with(
    autoencoderModel({
      from: {
        down_block_types: ['DownEncoderBlock2D', 'DownEncoderBlock2D'],
        up_block_types: ['UpDecoderBlock2D', 'UpDecoderBlock2D'],
        block_out_channels: [4, 8],
        norm_num_groups: 2,
      },
    }),
    autoencoding({ edge: 0.5 }),
    ...more,
  );
const autoencoderJobs: Record<string, () => Composition> = {
  'data/augmentation.ts': () => autoencoderJob(augmentation({ flip: 0.5, colours: 0.5 })),
  'models/autoencoder-model.ts': () => autoencoderJob(),
  'objectives/autoencoding.ts': () => autoencoderJob(),
  'persist/save-autoencoder.ts': () => autoencoderJob(saveAutoencoder(join(out, 'autoencoder'))),
};

/** Plugins that presets bring for themselves. */
const presetPlugins: Record<string, () => Composition> = {
  'presets/common/class-pictures.ts': () =>
    job().with(classPictures({ folder: join(out, 'class'), caption: 'a heart', count: 2 }, sampling)),
  'presets/common/fast-dev-run.ts': () => job().with(fastDevRun(join(out, 'dev'))),
  'presets/common/introduction.ts': () => job().with(introduction({ outputDir: out }, () => undefined)),
  'presets/common/notice.ts': () => job().with(notice(['the rate is another'])),
  'presets/common/put-back.ts': () => job().with(putBack()),
  'presets/emoji/figures.ts': () =>
    // Its pictures are 32 x 32.
    job({ sample_size: 16 }).with(
      emojiFigures({
        outputDir: out,
        captions: ['heart'],
        galleries: () => galleriesOf(things, { plain: (pixels) => pixels }),
        sampling,
        before: true,
      }),
    ),
};
const things = ['red', 'heart'].map((caption, i) => ({
  name: caption,
  caption,
  category: 'things',
  draw: () => new Float32Array(32 * 32 * 3).fill(0.3 + 0.4 * i),
}));

/** Plugins for models other than denoisers, in a small job of their own. */
const digits = (): Columns => ({
  x: { dtype: 'float32', shape: [5, 4], data: Float32Array.from({ length: 20 }, (_, i) => Math.cos(i)) },
  y: { dtype: 'int32', shape: [5], data: Int32Array.of(0, 1, 2, 1, 0) },
});
const classifier = () => {
  const model = tf.sequential({
    layers: [
      tf.layers.dense({
        name: 'first',
        inputShape: [4],
        units: 6,
        activation: 'relu',
        kernelInitializer: tf.initializers.glorotNormal({ seed: 1 }),
      }),
      tf.layers.batchNormalization(),
      tf.layers.dropout({ rate: 0.2 }),
      tf.layers.dense({ name: 'last', units: 3, kernelInitializer: tf.initializers.glorotNormal({ seed: 2 }) }),
    ],
  });
  borrowed.push(model);
  return model;
};
const classify = (more: Partial<SupervisedPresetOptions> = {}) =>
  supervised({
    model: classifier(),
    device: wasm({ threads: 1 }),
    data: digits(),
    loss: 'cross-entropy',
    steps: 6,
    batchSize: 2,
    ...more,
  } as SupervisedPresetOptions);
async function* one() {
  for (let i = 0; i < 5; i++) yield { xs: digits().x.data.subarray(4 * i, 4 * i + 4) as Float32Array, ys: digits().y.data[i] };
}
const supervisedJobs: Record<string, () => Composition> = {
  'adapters/merge-at-end.ts': () => classify({ lora: { rank: 2, targets: ['first', 'last'] } }),
  'devices/cpu.ts': () => classify({ device: cpu() }),
  'data/stream.ts': () => classify({ data: stream(() => one(), { batchSize: 2 }) as never }),
  'models/function-model.ts': () => {
    const w = tf.tidy(() => tf.variable(tf.ones([4, 3])));
    borrowed.push(w);
    return classify({ model: functionModel({ w }, (weights, { x }) => (x as tf.Tensor2D).matMul(weights.w as tf.Tensor2D)) });
  },
  'models/layers-model.ts': () => classify(),
  'objectives/supervised-objective.ts': () => classify({ labelSmoothing: 0.1 }),
  'observe/early-stopping.ts': () => classify({ validation: digits(), evaluateEvery: 2 }).with(earlyStopping({ patience: 9 })),
  'schedules/reduce-on-plateau.ts': () =>
    classify({ validation: digits(), evaluateEvery: 1 }).with(reduceOnPlateau({ patience: 0, threshold: 0.5, factor: 0.5 })),
  'observe/evaluation.ts': () => classify({ validation: digits(), metrics: ['accuracy'], evaluateEvery: 2 }),
};
/** Those that have nothing to do with what the model is, in the smallest job. */
const anyModel: Record<string, () => AnyPlugin[]> = {
  'distributed/distributed.ts': () => [distributed()],
  'distributed/mpi.ts': () => [mpi()],
  'observe/csv.ts': () => [csv(out, { every: 1 })],
  'observe/ui.ts': () => [ui({ every: 1, say: () => undefined })],
  'observe/tensorboard.ts': () => [tensorboard(join(out, 'tensorboard'), { every: 1 })],
  'observe/jsonl.ts': () => [jsonl(out, { every: 1 })],
  'observe/mlflow.ts': () => [mlflow({ every: 1, settings: { trackingUri: NOWHERE }, patience: 0 })],
  'observe/progress.ts': () => [progress({ every: 1, stream: quiet })],
  // Of what is logged: without a log that would be whatever another plugin of the test asks for.
  'observe/summary.ts': () => [jsonl(join(out, 'summary'), { every: 1 }), summary(out)],
  'persist/checkpoint.ts': () => [checkpoint({ into: join(out, 'checkpoints'), every: 4 })],
  'persist/run-folder.ts': () => [runFolder(join(out, 'folder'))],
  'schedules/constant.ts': () => [constant()],
  'schedules/cosine.ts': () => [cosine()],
  'schedules/cosine-with-restarts.ts': () => [cosineWithRestarts({ cycles: 2 })],
  'schedules/inverse-sqrt.ts': () => [inverseSqrt(2)],
  'schedules/linear.ts': () => [linear()],
  'schedules/one-cycle.ts': () => [oneCycle()],
  'schedules/piecewise-constant.ts': () => [piecewiseConstant('1:2,0.5:4,0.1')],
  'schedules/polynomial.ts': () => [polynomial({ power: 2 })],
  'schedules/sequence.ts': () => [sequence([constant(), 3], [linear()])],
  'schedules/warmup.ts': () => [warmup()],
  'schedules/warmup-stable-decay.ts': () => [warmupStableDecay({ decay: 3 })],
};

/** Variables that outlive their runs. */
const borrowed: { dispose(): unknown }[] = [];

/** Where fresh-process.test.ts wants snapshots of all jobs, in one process written and in another resumed: then nothing else is tested. */
const HANDED = process.env.STEPLOOM_TEST_SNAPSHOTS;

/** Devices that not every machine has, in the small job. */
const deviceJobs: Record<string, () => Filling<'DEVICE'>> = {
  'devices/webgpu.ts': webgpu,
  'devices/tfjs-node.ts': tfjsNode,
  'devices/tfjs-node-gpu.ts': tfjsNodeGpu,
};
const elsewhere: string[] = [];
for (const [name, make] of Object.entries(deviceJobs)) {
  const found = await tryDevice(make().name as DeviceName);
  if ('report' in found) supervisedJobs[name] = () => classify({ device: make() });
  else elsewhere.push(name);
  if ('why' in found) console.log(`not tested here: ${name} (${found.why})`);
}

const jobs: [string, () => Composition][] = [
  ...Object.entries(plugins).map(([name, make]): [string, () => Composition] => [name, () => job().with(...make())]),
  ...Object.entries(anyModel).map(([name, make]): [string, () => Composition] => [
    name,
    () => classify({ learningRate: 1e-2, warmupSteps: 2, quiet: true }).with(...make()),
  ]),
  ...Object.entries(supervisedJobs),
  ...Object.entries(autoencoderJobs),
  ...Object.entries(presetPlugins),
];

describe.skipIf(HANDED)('a file of a kind defines one plugin', async () => {
  const folder = new URL('../../plugins/', import.meta.url);
  const kinds = (await readdir(folder, { withFileTypes: true })).filter((entry) => entry.isDirectory()).map(({ name }) => name);
  const files = (
    await Promise.all(kinds.map(async (kind) => (await readdir(new URL(`${kind}/`, folder))).map((name) => `${kind}/${name}`)))
  )
    .flat()
    .filter((name) => name.endsWith('.ts'));

  const presets = new URL('../../presets/', import.meta.url);
  const ofPresets: string[] = [];
  for (const name of await readdir(presets, { recursive: true }))
    if (name.endsWith('.ts') && /^ +apply(?:\(|: )/m.test(await readFile(new URL(name, presets), 'utf8')))
      ofPresets.push(`presets/${name.replaceAll('\\', '/')}`);

  test('each is in a job, and those that presets define, and no job is of another', () => {
    expect([...jobs.map(([name]) => name), ...elsewhere].sort()).toEqual([...files, ...ofPresets].sort());
  });

  test.each(files)('%s exports a factory of its name', async (file) => {
    const name = file.replace(/^.*\/|\.ts$/g, '');
    const factory = name.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase());
    const exported = (await import(/* @vite-ignore */ new URL(file, folder).href)) as Record<string, unknown>;
    expect(typeof exported[factory], `${file} exports no ${factory}()`).toBe('function');
    const make = jobs.find(([job]) => job === file)?.[1];
    const names = make
      ? [...make()].map((plugin) => (typeof plugin === 'function' ? plugin.plugin : plugin).name)
      : [deviceJobs[file]().name];
    for (const made of borrowed.splice(0)) made.dispose();
    // A plugin of which a run may hold several bears a suffix.
    expect(
      names.some((own) => own === name || own.startsWith(`${name}-`) || own.startsWith(`${name}:`)),
      `${names}`,
    ).toBe(true);
  });
});

describe.each(jobs)('%s', (name, make) => {
  const train = async (plugins: AnyPlugin[], before: (trainer: Trainer) => Promise<unknown> = async () => undefined) => {
    const composition = make();
    const trainer = new Trainer(composition.with(...plugins), { warn: () => undefined });
    await before(trainer);
    await trainer.train();
    for (const own of borrowed.splice(0)) own.dispose();
  };

  if (HANDED) {
    const place = (which: 'middle' | 'end') => join(HANDED, name.replaceAll(/\W/g, '-'), which);
    const [middle, end] = [place('middle'), place('end')];
    if (existsSync(middle))
      test('resumes in a fresh process', async () => {
        const store = memoryStore(6, await readSnapshot(filesIn(middle)));
        await train([store.plugin]);
        expect(store.snapshots).toEqual([await readSnapshot(filesIn(end))]);
      });
    else
      test('leaves snapshots', async () => {
        const store = memoryStore(2);
        await train([store.plugin]);
        const [, fourth, sixth] = store.snapshots;
        await writeSnapshot(filesIn(middle), fourth);
        await writeSnapshot(filesIn(end), sixth);
      });
    return;
  }

  test('leaks no tensor, resumes bit for bit, and is unchanged by what is tried before it', async () => {
    // The first run makes what the process keeps.
    const store = memoryStore(4);
    await train([store.plugin, stopAfter(4)]);
    const before = tf.memory().numTensors;
    const counts: number[] = [];
    const counter: Plugin = {
      name: 'counter',
      apply: ({ hooks }) =>
        hooks.beforeEpoch.tap('counter', () => {
          counts.push(tf.memory().numTensors);
        }),
    };
    // WebGPU's memory cannot be read at once: there the snapshots alone tell.
    const recorder = () => (name === 'devices/webgpu.ts' ? null : weightsRecorder());
    const whole = recorder();
    const wholeStore = memoryStore(6);
    let tried = 0;
    await train([...(whole ? [whole.plugin] : []), counter, wholeStore.plugin], async (trainer) => {
      await trainer.findLearningRate({ least: 1e-3, most: 1, steps: 3 });
      await trainer.findBatchSize({ most: 2 });
      tried = counts.splice(0).length;
    });
    expect(tried).toBeGreaterThan(0);
    expect(tf.memory().numTensors).toBe(before);
    // The first step makes what is kept from then on (the norm that is logged, say).
    if (counts.length > 2) expect(new Set(counts.slice(1)).size, String(counts)).toBe(1);
    const rest = recorder();
    const restStore = memoryStore(6, store.snapshots[0]);
    await train([...(rest ? [rest.plugin] : []), restStore.plugin]);
    expect(rest?.losses).toEqual(whole?.losses.slice(-2));
    expect(rest?.steps).toEqual(whole?.steps.slice(-2));
    expect(restStore.snapshots).toEqual(wholeStore.snapshots);
  });
});
