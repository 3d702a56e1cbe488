import { mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Trainer } from '../../core/index.js';
import { dreamboothLora } from '../../presets/dreambooth-lora.js';
import '../support/devices.js';

const sd15 = fileURLToPath(new URL('../fixtures/pipelines/sd15', import.meta.url));
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'steploom-dreambooth-'));
});
afterAll(() => rm(folder, { recursive: true }));

async function trained(options: object) {
  const outputDir = join(folder, 'run');
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
    await trained({ withPriorPreservation: false, outputDir: join(folder, 'run'), maxTrainSteps: 1 }),
    await trained({ priorLossWeight: 0, maxTrainSteps: 1 }),
    await trained({ priorLossWeight: 3, maxTrainSteps: 1 }),
  ].map(({ losses }) => losses.at(-1) as number);
  expect(alone).toBeGreaterThan(0);
  expect(heavy).toBeGreaterThan(light + 0.5);
});

test('what pictures of the class need is said at once', async () => {
  const given = { instanceDataDir: folder, withPriorPreservation: true, rank: 0 };
  await expect(dreamboothLora(given as never)).rejects.toThrow(
    /instancePrompt is missing[\s\S]*classDataDir is missing[\s\S]*classPrompt is missing[\s\S]*rank is 0/,
  );
});

async function made(...path: string[]): Promise<string> {
  const [place, name] = path;
  await mkdir(join(folder, place), { recursive: true });
  return join(folder, place, name);
}
