import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { expect, test } from 'vitest';
import { type Composition, type Snapshot, Trainer } from '../../core/index.js';
import { wasm } from '../../plugins/devices/wasm.js';
import { folder } from '../../plugins/persist/formats/folder.js';
import { emojiBaseFolder } from '../../presets/common/package-root.js';
import { type LoraInMemoryOptions, loraInMemory } from '../../presets/lora-in-memory.js';
import { loraTextToImage } from '../../presets/lora-text-to-image.js';

const side = 16;
const inMemory = (more: Partial<LoraInMemoryOptions> = {}) =>
  loraInMemory({
    model: folder(emojiBaseFolder()),
    device: wasm({ threads: 1 }),
    images: { dtype: 'float32', shape: [2, side, side, 3], data: new Float32Array(2 * side * side * 3).fill(0.5) },
    captions: ['a', 'b'],
    steps: 3,
    ...more,
  });

async function begun(preset: Composition): Promise<Snapshot> {
  const trainer = new Trainer(preset, { warn: () => undefined });
  try {
    return await trainer.snapshot();
  } finally {
    await trainer.dispose();
  }
}

test('it has the defaults of the command line’s lora-text-to-image', async () => {
  const images = await mkdtemp(join(tmpdir(), 'steploom-'));
  for (const name of ['a', 'b']) {
    await sharp({ create: { width: side, height: side, channels: 3, background: 'red' } }).toFile(join(images, `${name}.png`));
    await writeFile(join(images, `${name}.txt`), name);
  }
  const [ours, theirs] = [
    await begun(inMemory()),
    await begun(
      await loraTextToImage({
        trainDataDir: images,
        resolution: side,
        outputDir: join(images, 'out'),
        device: 'wasm',
        threads: 1,
        quiet: true,
        maxTrainSteps: 3,
      }),
    ),
  ];
  await rm(images, { recursive: true });
  // Rate, decay, length and warm-up; the batch; what each plugin says of its options.
  expect(ours.run).toEqual(theirs.run);
  expect([ours.seed, ours.data.batchSize, ours.data.windowLength]).toEqual([theirs.seed, theirs.data.batchSize, theirs.data.windowLength]);
  for (const [plugin, options] of Object.entries(ours.settings ?? {}))
    expect([plugin, theirs.settings?.[plugin]]).toEqual([plugin, options]);
  expect(Object.keys(ours.settings ?? {})).toEqual(expect.arrayContaining(['lora', 'denoising', 'adamw', 'clipping']));
  // The same adapters, which start the same.
  expect(ours.parameters).toEqual(theirs.parameters);
});

test('a fast dev run is one step, without warm-up', async () => {
  const { step, history } = await new Trainer(
    inMemory({ steps: 50, warmupSteps: 9, batchSize: 1, fastDevRun: true }).with({
      name: 'log',
      apply: ({ hooks }) => hooks.shouldLog.tap(() => true),
    }),
  ).train();
  expect(step).toBe(1);
  expect(history).toMatchObject([{ step: 1, learningRate: 1e-4 }]);
});
