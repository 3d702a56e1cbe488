import { existsSync } from 'node:fs';
import type { Command } from 'commander';
import { z } from 'zod';
import { fail, printable } from '../../core/index.js';
import { type Inspection, inspectFolder } from '../../plugins/data/inspection/inspect-folder.js';
import { configurationsFrom } from '../../plugins/models/stable-diffusion/configurations-from.js';
import { pictureSizes } from '../../plugins/models/stable-diffusion/picture-sizes.js';
import { preparation } from '../../plugins/observe/progress/preparation.js';
import { bucketsFrom } from '../common/buckets.js';
import { idleOptions } from '../common/idle-options.js';
import { modelSource, resolutionFor } from '../common/model-source.js';
import { bucketOptions, imageOptions, text, weightsOptions } from '../common/options.js';
import { addOptions, givenOptions, optionsOf } from './options.js';

const inspectOptions = z.strictObject({
  model: weightsOptions.pretrainedModelNameOrPath,
  revision: weightsOptions.revision,
  predictionType: weightsOptions.predictionType,
  resolution: imageOptions.resolution,
  ...bucketOptions,
  captionColumn: imageOptions.captionColumn,
  captionPrefix: imageOptions.captionPrefix,
  instancePrompt: text().optional().describe('What every image shows, as dreambooth-lora takes it: captions are not looked for.'),
  folderRepeats: imageOptions.folderRepeats,
  maxPixels: imageOptions.maxPixels,
  contactSheet: text().optional().describe('A PNG to write, with every image as it would be cut.'),
  json: z.boolean().default(false).describe('Print all of it as JSON.'),
});

/** `steploom inspect <folder>`. */
export function addInspect(program: Command): void {
  const command = program
    .command('inspect')
    .description('Show what would be trained of a folder of images: sizes, captions, doubles, and what is wrong.');
  addOptions(command, inspectOptions).argument('<folder>', 'A folder of images, as train_data_dir takes it.');
  command.action(async (folder: string) => {
    const given = givenOptions(command, inspectOptions);
    const { json, model, ...o } = optionsOf(command, inspectOptions);
    // Before the work, not after it.
    if (o.contactSheet !== undefined && existsSync(o.contactSheet))
      fail('OPTION_INVALID', 'inspect', `${o.contactSheet} is there already`, 'Give another contactSheet.');
    const source = { ...o, pretrainedModelNameOrPath: model, clipSkip: 0, longCaptions: 'cut' as const };
    for (const what of idleOptions(inspectOptions, source, given)) console.error(what);
    const { from, ...reading } = modelSource(source);
    const resolution = await resolutionFor(source);
    const found = await inspectFolder(folder, {
      resolution,
      ...bucketsFrom(o),
      unit: (await pictureSizes(from, reading)).unit,
      tokenizers: await (await configurationsFrom(from, reading)).tokenizers(),
      captionColumn: o.captionColumn,
      ...(o.captionPrefix === undefined ? {} : { captionPrefix: o.captionPrefix }),
      ...(o.instancePrompt === undefined ? {} : { caption: o.instancePrompt }),
      folderRepeats: o.folderRepeats,
      maxPixels: o.maxPixels,
      ...(o.contactSheet === undefined ? {} : { contactSheet: o.contactSheet }),
      onProgress: preparation(),
    });
    const lines = json ? [JSON.stringify(found)] : describe(found, folder, resolution);
    for (const line of lines) console.log(json ? line : printable(line));
    if (o.contactSheet !== undefined) console.error(printable(`wrote ${o.contactSheet}`));
  });
}

/** What is said of images without captions, since a run may want none. */
const NONE =
  'none: dreambooth-lora trains on such images, with what they show as --instance_prompt (give it here, too); other presets want captions, in metadata.jsonl or a .txt beside each image';

/** Names that are printed of a list. */
const SHOWN = 5;

const some = (names: readonly string[], between = ', '): string =>
  names.slice(0, SHOWN).join(between) + (names.length > SHOWN ? `${between}${names.length - SHOWN} more` : '');

/** The lines for reading. */
function describe(found: Inspection, folder: string, resolution: number): string[] {
  const { captions, smallest, largest } = found;
  const sizeOf = (size: readonly [number, number] | null) => size?.join(' x ') ?? 'none';
  const named = (label: string, what: string, names: readonly string[]): [string, string][] =>
    names.length > 0 ? [[label, `${names.length} ${what}: ${some(names)}`]] : [];
  const words = (list: Inspection['captions']['unknown'], more: (word: (typeof list)[number]) => number) =>
    list.map((word) => `${word.word} (${more(word)})`);
  const rows: [string, string][] = [
    ['images', `${found.images} in ${folder}${found.shown === found.images ? '' : `, shown ${found.shown} times an epoch`}`],
    ['', `${sizeOf(smallest)} to ${sizeOf(largest)} pixels, trained at ${resolution}`],
    ...found.sizes.map(({ width, height, images }, i): [string, string] => [
      i === 0 ? 'sizes' : '',
      `${`${width} x ${height}`.padStart(11)}: ${images}`,
    ]),
    ...named('small', 'are smaller than that', found.small),
    ...named('turned', 'are turned as their cameras say', found.turned),
    ...named('alpha', 'are transparent in places', found.transparent),
    ...named('', 'are transparent everywhere', found.invisible),
    ...(found.captionless ? [['captions', NONE] as [string, string]] : []),
    ...named(
      'captions',
      `are longer than ${captions.limit} tokens`,
      captions.long.map(({ image, tokens }) => `${image} (${tokens})`),
    ),
    ...named(
      'words',
      'are not known to the model',
      words(captions.unknown, (word) => word.captions),
    ),
    ...named(
      'words',
      'fall into many tokens',
      words(captions.pieces, (word) => word.tokens),
    ),
    ...named('', 'are in one caption alone', captions.once),
    ...named(
      'same',
      'groups of images have the same bytes',
      found.same.map((group) => some(group, ' = ')),
    ),
    ...named(
      'alike',
      'groups of images look alike',
      found.alike.map((group) => some(group, ' ~ ')),
    ),
    ...named(
      'broken',
      'cannot be used',
      found.unreadable.map(({ image, why }) => `${image} ${why}`),
    ),
    ...found.leftOut.map((what): [string, string] => ['left out', what]),
    ...found.problems.map((what): [string, string] => ['problem', what]),
  ];
  return rows.map(([label, line]) => `${label.padEnd(10)}${line}`);
}
