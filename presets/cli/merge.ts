import { readdir } from 'node:fs/promises';
import type { Command } from 'commander';
import { z } from 'zod';
import { fail, printable, weightsOf } from '../../core/index.js';
import { isLeftOver } from '../../plugins/persist/formats/atomic-files.js';
import { folder } from '../../plugins/persist/formats/folder.js';
import { openModel, openOptions } from './open-model.js';
import { addOptions, optionsOf } from './options.js';

const mergeOptions = z.strictObject({
  ...openOptions,
  outputDir: z.string().min(1).describe('Where the model is written.'),
  half: z.boolean().default(false).describe('Write float16.'),
  overwriteOutputDir: z.boolean().default(false).describe('Write into output_dir also where it holds something already.'),
});

const holdsSomething = (path: string): Promise<boolean> =>
  readdir(path).then(
    (names) => !names.every(isLeftOver),
    (error: NodeJS.ErrnoException) => error.code !== 'ENOENT',
  );

/** `steploom merge`: writes a model with an adapter in its weights, in diffusers' layout. */
export function addMerge(program: Command): void {
  const command = program.command('merge').description('Add an adapter to the weights of its model and save the model.');
  addOptions(command, mergeOptions, { mandatory: true }).action(async () => {
    const o = optionsOf(command, mergeOptions);
    // Before the work, not after it.
    if (!o.overwriteOutputDir && (await holdsSomething(o.outputDir)))
      fail('OPTION_INVALID', 'merge', `${o.outputDir} holds something already`, 'Give another output_dir, or add overwriteOutputDir.');
    const model = await openModel(o);
    await model.save(folder(o.outputDir), weightsOf(model), { half: o.half });
    console.log(printable(`wrote ${o.outputDir}`));
  });
}
