import { mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Parameter, Trainer } from '../../core/index.js';
import { findAdapter } from '../../presets/cli/adapters.js';
import { openModel } from '../../presets/cli/open-model.js';
import { dreamboothLora } from '../../presets/dreambooth-lora.js';
import { tf } from '../support/devices.js';

const sd15 = fileURLToPath(new URL('../fixtures/pipelines/sd15', import.meta.url));
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'steploom-dreambooth-'));
});
afterAll(() => rm(folder, { recursive: true }));

async function trained({ outputDir = join(folder, 'run'), ...options }: { readonly outputDir?: string; readonly [name: string]: unknown }) {
  const composition = await dreamboothLora({
    pretrainedModelNameOrPath: sd15,
    instanceDataDir: join(folder, 'own'),
    instancePrompt: 'a sks cat',
    withPriorPreservation: true,
    classDataDir: join(folder, 'class'),
    classPrompt: 'a cat',
    numClassImages: 4,
    sampleBatchSize: 2,
    numInferenceSteps: 2,
    outputDir,
    device: 'wasm',
    threads: 1,
    trainBatchSize: 2,
    maxTrainSteps: 2,
    learningRate: 0.01,
    loggingSteps: 1,
    quiet: true,
    ...options,
  });
  const { step, stopped } = await new Trainer(composition, { warn: () => undefined }).train();
  const records = (await readFile(join(outputDir, 'log.jsonl'), 'utf8')).trim().split('\n');
  return { step, stopped, losses: records.map((line) => (JSON.parse(line) as { loss: number }).loss) };
}

const drawn = async () => {
  const names = (await readdir(join(folder, 'class'))).sort();
  return Object.fromEntries(
    await Promise.all(names.map(async (name) => [name, (await readFile(join(folder, 'class', name))).toString('base64')])),
  );
};

test('missing pictures of the class are drawn, each as it is whenever that happens, and trained on', async () => {
  await sharp({ create: { width: 16, height: 16, channels: 3, background: 'red' } }).toFile(await made('own', 'a.png'));
  await sharp({ create: { width: 20, height: 16, channels: 3, background: 'blue' } }).toFile(await made('class', 'found.jpg'));
  const first = await trained({});
  expect(first).toMatchObject({ step: 2, stopped: false });
  const pictures = await drawn();
  expect(Object.keys(pictures)).toEqual(['class-0.png', 'class-1.png', 'class-2.png', 'found.jpg']);
  expect(new Set(Object.values(pictures)).size).toBe(4);
  const { width, height } = await sharp(join(folder, 'class', 'class-0.png')).metadata();
  expect([width, height]).toEqual([16, 16]);

  // The adapters have learnt by now; what is missing is drawn without them, alone as beside others.
  await rm(join(folder, 'class', 'class-1.png'));
  const more = await trained({ resumeFromCheckpoint: 'latest', maxTrainSteps: 3 });
  expect(more.step).toBe(3);
  expect(await drawn()).toEqual(pictures);
});

test('the class is left out where it is not asked for, and weighs what it is said to', async () => {
  const [alone, light, heavy] = [
    await trained({ withPriorPreservation: false, maxTrainSteps: 1 }),
    await trained({ priorLossWeight: 0, maxTrainSteps: 1 }),
    await trained({ priorLossWeight: 3, maxTrainSteps: 1 }),
  ].map(({ losses }) => losses.at(-1) as number);
  expect(alone).toBeGreaterThan(0);
  expect(heavy).toBeGreaterThan(light + 0.5);
});

test('DoRA, with ranks of its own, trains to a file that says so and is drawn with', async () => {
  const outputDir = join(folder, 'dora');
  const dora = {
    withPriorPreservation: false,
    useDora: true,
    useRslora: true,
    rankPattern: ['to_q=2'],
    alphaPattern: ['to_q=3'],
    loraDropout: 0.1,
  };
  await trained({ ...dora, outputDir });
  const adapter = await findAdapter(outputDir);
  const before = tf.memory().numTensors;
  const model = await openModel({ pretrainedModelNameOrPath: sd15, device: 'wasm', lora: [outputDir, `${outputDir}:0.5`] });
  const read = adapter.read(model.modules);
  for (const { path, rank, scale, magnitude, b } of read) {
    const isQuery = path.endsWith('to_q');
    expect([path, rank, magnitude?.shape]).toEqual([path, isQuery ? 2 : 4, [b.shape[0]]]);
    expect(scale).toBeCloseTo(isQuery ? 3 / Math.sqrt(2) : 2, 6);
  }
  const base = await openModel({ pretrainedModelNameOrPath: sd15, device: 'wasm' });
  const { path, magnitude } = read[0];
  const lengths = (base.parameters.get(base.modules.get(path)?.weight as string) as Parameter).variable.norm('euclidean', 0).dataSync();
  // They have learnt, but not far.
  const apart = Math.max(...Array.from(lengths, (length, o) => Math.abs(length - (magnitude?.data[o] ?? 0))));
  expect(apart).toBeGreaterThan(0.001);
  expect(apart).toBeLessThan(0.1);
  for (const opened of [model, base]) tf.dispose([...opened.parameters.values()].map(({ variable }) => variable));
  expect(tf.memory().numTensors).toBeLessThanOrEqual(before + 2);
});

test('what pictures of the class need is said at once', async () => {
  const given = { instanceDataDir: folder, withPriorPreservation: true, rank: 0 };
  await expect(dreamboothLora(given as never)).rejects.toThrow(
    /instancePrompt is missing[\s\S]*classDataDir is missing[\s\S]*classPrompt is missing[\s\S]*rank is 0/,
  );
});

test('a folder of the class is none of the instances', async () => {
  const of = (instanceDataDir: string, classDataDir: string) =>
    dreamboothLora({ instanceDataDir, classDataDir, withPriorPreservation: true, rank: 0 } as never);
  for (const [own, others] of [
    ['own', 'own'],
    ['own', 'own/../own/class/'],
    ['own/mine', './own'],
  ])
    await expect(of(own, others)).rejects.toThrow(/classDataDir is ".*own.*": .*one is in the other.*give one beside it[\s\S]*rank is 0/);
  await expect(of('own', 'own-class')).rejects.not.toThrow(/one is in the other/);
});

async function made(...path: string[]): Promise<string> {
  const [place, name] = path;
  await mkdir(join(folder, place), { recursive: true });
  return join(folder, place, name);
}
