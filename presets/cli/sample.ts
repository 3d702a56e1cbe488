import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { z } from 'zod';
import { fail, messageOf, printable, SteploomError, seededRandom, weightsOf } from '../../core/index.js';
import { lostText } from '../../plugins/models/clip/lost-text.js';
import { nextFreeName } from '../../plugins/observe/logs/next-name.js';
import { whileWatched } from '../../plugins/observe/progress/preparation.js';
import { kindOfPicture } from '../../plugins/persist/formats/picture-file.js';
import { writeGrid, writePicture } from '../../plugins/persist/formats/pictures.js';
import { decodeText } from '../../plugins/persist/formats/text.js';
import { columnsOf, picturesOf, sampleImages } from '../../plugins/samplers/walk/sample-images.js';
import { idleOptions } from '../common/idle-options.js';
import { count, precisionOptions, prompts, samplingOptions, sourceOptions, text } from '../common/options.js';
import { packageVersion } from '../common/package-root.js';
import { samplingOf } from '../common/sampling.js';
import { parseAdapter } from './adapters.js';
import { infotext } from './infotext.js';
import { openModel, openOptions } from './open-model.js';
import { addOptions, givenOptions, optionsOf } from './options.js';

const DEFAULT = 'sample.png';

const sampleOptions = z.strictObject({
  prompt: prompts().optional().describe('What to draw; several, in one flag or in more, give a grid.'),
  promptsFile: text().optional().describe('A text file with a prompt on each line, drawn after those of --prompt.'),
  ...openOptions,
  ...sourceOptions,
  ...precisionOptions,
  lora: openOptions.lora.optional(),
  ...samplingOptions,
  negativePrompt: prompts().optional().describe('What guidance leads away from: one for all prompts, or one for each.'),
  numImagesPerPrompt: count().default(1).describe('Pictures of each prompt.'),
  height: count().optional().describe('In pixels; the model’s own by default.'),
  width: count().optional().describe('In pixels; the model’s own by default.'),
  seed: z.number().int().default(0).describe('Another seed gives another picture.'),
  output: text()
    .optional()
    .describe(
      'The picture to write, .png, .jpg or .webp, with prompts and settings in it; by default sample.png, or the next free name of the kind sample-1.png.',
    ),
  overwriteOutput: z.boolean().default(false).describe('Write output also where there is such a file already.'),
});

/** The lines of a file that are not empty. */
async function promptsIn(path: string): Promise<string[]> {
  try {
    const text = decodeText(await readFile(path)) ?? fail('FILE_UNREADABLE', 'promptsFile', `${path} is no text`, 'Save it as UTF-8.');
    return text.split(/\r?\n/).filter((line) => line.trim() !== '');
  } catch (error) {
    if (error instanceof SteploomError) throw error;
    return fail('FILE_MISSING', 'promptsFile', `${path} cannot be read: ${messageOf(error)}`, 'Give a text file.', error);
  }
}

/** `steploom sample`: draws prompts into one picture. */
export function addSample(program: Command): void {
  const command = addOptions(program.command('sample').description('Draw pictures.'), sampleOptions);
  command.action(async () => {
    const given = givenOptions(command, sampleOptions);
    const o = optionsOf(command, sampleOptions);
    for (const what of idleOptions(sampleOptions, o, given)) console.error(what);
    const wanted = [...[o.prompt ?? []].flat(), ...(o.promptsFile === undefined ? [] : await promptsIn(o.promptsFile))];
    if (wanted.length === 0)
      fail('OPTION_MISSING', 'sample', 'there is no prompt', 'Give --prompt, or --prompts_file with a file that has one on each line.');
    // Before the work, not after it.
    if (o.output !== undefined) kindOfPicture(o.output);
    if (o.output !== undefined && !o.overwriteOutput && existsSync(o.output))
      fail('OPTION_INVALID', 'sample', `${o.output} is there already`, 'Give another output, or add overwriteOutput.');
    const output = o.output ?? (existsSync(DEFAULT) ? await nextFreeName(DEFAULT) : DEFAULT);
    const model = await openModel(o);
    const away = [o.negativePrompt ?? []].flat();
    for (const what of [...lostText(model.tokenizer, wanted, 'prompts'), ...lostText(model.tokenizer, away, 'negative prompts')])
      console.error(printable(what));
    const { onProgress: tell } = whileWatched();
    const drawn = await sampleImages(model, weightsOf(model), seededRandom(o.seed), wanted, {
      ...samplingOf(o),
      imagesPerPrompt: o.numImagesPerPrompt,
      ...(tell ? { onStep: (done: number, of: number) => tell(done, of, 'steps') } : {}),
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
    const about = infotext({
      ...o,
      prompts: wanted,
      steps: o.numInferenceSteps,
      guidance: o.guidanceScale,
      width,
      height,
      model: o.pretrainedModelNameOrPath,
      adapters: [o.lora ?? []].flat().map(parseAdapter),
      version: packageVersion(),
    });
    const pictures = picturesOf(drawn);
    // Small ones are enlarged, so that they can be looked at.
    if (pictures.length > 1 || height < 128) await writeGrid(output, pictures, { height, width }, columns, height < 128 ? 8 : 1, about);
    else await writePicture(output, pictures[0], { height, width }, about);
    console.log(printable(`wrote ${output}`));
  });
}
