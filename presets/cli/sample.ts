import type { Command } from 'commander';
import { z } from 'zod';
import { printable, seededRandom, weightsOf } from '../../core/index.js';
import { lostText } from '../../plugins/models/clip/lost-text.js';
import { writeGrid } from '../../plugins/persist/formats/png.js';
import { ddim } from '../../plugins/samplers/ddim.js';
import { dpmSolverPlusPlus } from '../../plugins/samplers/dpm-solver-plus-plus.js';
import { sampleImages } from '../../plugins/samplers/walk/sample-images.js';
import { samplingOptions } from '../common/options.js';
import { openModel, openOptions } from './open-model.js';
import { addOptions, optionsOf } from './options.js';

const SAMPLERS = { ddim: () => ddim({ useClippedModelOutput: true }), 'dpm-solver++': () => dpmSolverPlusPlus({ clip: true }) };

const sampleOptions = z.strictObject({
  prompt: z.union([z.string(), z.array(z.string()).readonly()]).describe('What to draw; several give a grid.'),
  ...openOptions,
  lora: openOptions.lora.optional(),
  ...samplingOptions,
  sampler: z
    .enum(Object.keys(SAMPLERS) as (keyof typeof SAMPLERS)[])
    .default('ddim')
    .describe('How noise is taken away.'),
  seed: z.number().int().default(0).describe('Another seed gives another picture.'),
  output: z.string().default('sample.png').describe('The PNG to write.'),
});

/** `steploom sample`: draws prompts into one PNG. */
export function addSample(program: Command): void {
  const command = addOptions(program.command('sample').description('Draw pictures.'), sampleOptions, { mandatory: true });
  command.action(async () => {
    const o = optionsOf(command, sampleOptions);
    const prompts = [o.prompt].flat();
    const model = await openModel(o);
    for (const what of lostText(model.tokenizer, prompts, 'prompts')) console.error(printable(what));
    const { shape, data } = await sampleImages(model, weightsOf(model), seededRandom(o.seed), prompts, {
      sampler: SAMPLERS[o.sampler](),
      steps: o.numInferenceSteps,
      guidance: o.guidanceScale,
    });
    const [, height, width] = shape;
    const size = height * width * 3;
    const images = prompts.map((_, i) => data.slice(i * size, (i + 1) * size).map((x) => (x + 1) / 2));
    // Small pictures are enlarged, so that they can be looked at.
    await writeGrid(o.output, images, { height, width }, Math.min(8, prompts.length), height < 128 ? 8 : 1);
    console.log(`wrote ${o.output}`);
  });
}
