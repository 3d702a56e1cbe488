import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { seededRandom, Trainer, weightsOf } from '../../../core/index.js';
import { wasm } from '../../../plugins/devices/wasm.js';
import { buildTextToImage } from '../../../plugins/models/stable-diffusion/build.js';
import { buildAutoencoder } from '../../../plugins/models/vae/autoencoder.js';
import { folder as filesIn } from '../../../plugins/persist/formats/folder.js';
import { emojiAutoencoderConfig, emojiModel } from '../../../presets/emoji/model.js';
import { renderEmoji } from '../../../presets/emoji/noto.js';
import { emoji } from '../../../presets/emoji.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'steploom-emoji-'));
});
afterAll(() => rm(folder, { recursive: true }));

test('the main job on a new base of small pictures: adapters, grids, and figures before and after', async () => {
  await wasm().setUp();
  const base = filesIn(join(folder, 'base'));
  const vae = await buildAutoencoder(emojiAutoencoderConfig(32), seededRandom(0));
  await vae.save(base, weightsOf(vae), { scaling: 1 });
  const captions = (await renderEmoji('icons', 32)).slice(0, 20).map(({ caption }) => caption);
  const model = await buildTextToImage({ from: emojiModel(captions, base, 4, 0), train: 'nothing' }, seededRandom(0));
  await model.save(base, weightsOf(model));
  for (const { parameters } of [vae, model]) for (const { variable } of parameters.values()) variable.dispose();

  const outputDir = join(folder, 'run');
  const given = { maxTrainSteps: 2, loggingSteps: 1, lrWarmupSteps: 1, heldOut: 2, numInferenceSteps: 1, trainBatchSize: 2 };
  const said = vi.spyOn(console, 'log').mockImplementation(() => undefined);
  let shown = '';
  const streams = [
    vi.spyOn(console, 'error').mockImplementation((line) => void (shown += `${line}\n`)),
    vi.spyOn(process.stderr, 'write').mockImplementation((text) => (shown += text) !== ''),
  ];
  const trainer = async (into: string) =>
    new Trainer(await emoji({ pretrainedModelNameOrPath: join(folder, 'base'), outputDir: into, device: 'wasm', ...given }), {
      warn: () => undefined,
    });
  try {
    // Who stops it at once waits for nothing to be judged.
    await (await trainer(join(folder, 'stopped'))).train({ signal: AbortSignal.abort() });
    expect(shown).not.toMatch(/icons|losses|: steps/);
    shown = '';
    await (await trainer(outputDir)).train();
    expect(said.mock.calls.flat().join('\n')).toMatch(/nearest of all images is it, in delft +\d+\.\d % +\d+\.\d %/);
  } finally {
    for (const spy of [said, ...streams]) spy.mockRestore();
  }
  // What the run is comes first; while it is judged it is shown how far that is.
  expect(shown).toMatch(/^model {4}Stable Diffusion 1 from .*base, at 32 pixels\n[\s\S]*\nlatents 64\/64\n/);
  for (const grid of ['grid-before', 'grid-after'])
    expect(shown).toMatch(new RegExp(`^${grid}: losses 5/10\\n[^]*^${grid}.png: steps `, 'm'));
  const found = await readdir(outputDir);
  for (const name of ['pytorch_lora_weights.safetensors', 'run.kohya.safetensors', 'log.jsonl', 'plot.png', 'figures.json'])
    expect(found).toContain(name);
  const figures = JSON.parse(await readFile(join(outputDir, 'figures.json'), 'utf8'));
  expect(figures.captions).toHaveLength(2);
  // Whoever looks at the grids on a page is told what they show.
  expect(JSON.parse(await readFile(join(outputDir, 'run.json'), 'utf8')).prompts).toEqual(figures.captions);
  for (const when of ['before', 'after']) {
    expect(Object.keys(figures[when].nearest)).toEqual(['delft', 'noto']);
    expect(figures[when].loss.delft).toBeGreaterThan(0);
    expect(figures[when].loss.delft).toBeLessThan(10);
  }
  const { width, height } = await sharp(join(outputDir, 'grid-after.png')).metadata();
  // Two pictures in a row of twelve places.
  expect([width, height].map((side) => Math.floor((side as number) / 64))).toEqual([12, 1]);
});
