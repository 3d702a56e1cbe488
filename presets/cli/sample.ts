import { existsSync } from 'node:fs';
import type { Command } from 'commander';
import { z } from 'zod';
import { fail, printable, seededRandom, weightsOf } from '../../core/index.js';
import { lostText } from '../../plugins/models/clip/lost-text.js';
import { nextFreeName } from '../../plugins/observe/logs/next-name.js';
import { writeGrid } from '../../plugins/persist/formats/png.js';
import { columnsOf, picturesOf, sampleImages } from '../../plugins/samplers/walk/sample-images.js';
import { idleOptions } from '../common/idle-options.js';
import { count, precisionOptions, prompts, samplingOptions, sourceOptions, text } from '../common/options.js';
import { samplingOf } from '../common/sampling.js';
import { openModel, openOptions } from './open-model.js';
import { addOptions, checkOptions, givenOptions } from './options.js';

const DEFAULT = 'sample.png';

const sampleOptions = z.strictObject({
  prompt: prompts().describe('What to draw; several give a grid.'),
  ...openOptions,
  ...sourceOptions,
  ...precisionOptions,
  lora: openOptions.lora.optional(),
  ...samplingOptions,
  negativePrompt: prompts().optional().describe('What guidance leads away from: one for all prompts, or one for each.'),
  numImagesPerPrompt: count().default(1).describe('Pictures of each prompt.'),
  height: count().optional().describe('In pixels; the model’s own by default.'),
  width: count().optional().describe('The same.'),
  seed: z.number().int().default(0).describe('Another seed gives another picture.'),
  output: text().optional().describe('The PNG to write; by default sample.png, or the next free name of the kind sample-1.png.'),
  overwriteOutput: z.boolean().default(false).describe('Write output also where there is such a file already.'),
});

/** `steploom sample`: draws prompts into one PNG. */
export function addSample(program: Command): void {
  const command = addOptions(program.command('sample').description('Draw pictures.'), sampleOptions, { mandatory: true });
  command.action(async () => {
    const given = givenOptions(command, sampleOptions);
    const o = checkOptions(sampleOptions, given);
    for (const what of idleOptions(sampleOptions, o, given)) console.error(what);
    const wanted = [o.prompt].flat();
    // Before the work, not after it.
    if (o.output !== undefined && !o.overwriteOutput && existsSync(o.output))
      fail('OPTION_INVALID', 'sample', `${o.output} is there already`, 'Give another output, or add overwriteOutput.');
    const output = o.output ?? (existsSync(DEFAULT) ? await nextFreeName(DEFAULT) : DEFAULT);
    const model = await openModel(o);
    const away = [o.negativePrompt ?? []].flat();
    for (const what of [...lostText(model.tokenizer, wanted, 'prompts'), ...lostText(model.tokenizer, away, 'negative prompts')])
      console.error(printable(what));
    const drawn = await sampleImages(model, weightsOf(model), seededRandom(o.seed), wanted, {
      ...samplingOf(o),
      imagesPerPrompt: o.numImagesPerPrompt,
      ...(o.height === undefined ? {} : { height: o.height }),
      ...(o.width === undefined ? {} : { width: o.width }),
    });
    if (!drawn.finite)
      fail(
        'NON_FINITE',
        'sample',
        'the model gives numbers that are not finite',
        'Its weights are ruined: use those of an earlier checkpoint.',
      );
    const [, height, width] = drawn.shape;
    const columns = columnsOf(wanted.length, o.numImagesPerPrompt);
    // Small pictures are enlarged, so that they can be looked at.
    await writeGrid(output, picturesOf(drawn), { height, width }, columns, height < 128 ? 8 : 1);
    console.log(printable(`wrote ${output}`));
  });
}
