import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { basename, dirname, extname } from 'node:path';
import type { Command } from 'commander';
import { z } from 'zod';
import { fail, printable, weightsOf } from '../../core/index.js';
import { isLeftOver } from '../../plugins/persist/formats/atomic-files.js';
import { folder } from '../../plugins/persist/formats/folder.js';
import { openModel, openOptions } from './open-model.js';
import { addOptions, optionsOf } from './options.js';

const mergeOptions = z.strictObject({
  ...openOptions,
  lora: openOptions.lora.optional(),
  outputDir: z
    .string()
    .min(1)
    .describe('The folder that the model is written into, or one .safetensors file, as AUTOMATIC1111 and ComfyUI read it.'),
  half: z.boolean().default(false).describe('Write float16.'),
  overwriteOutputDir: z.boolean().default(false).describe('Write output_dir also where there is something already.'),
});

const holdsSomething = (path: string): Promise<boolean> =>
  readdir(path).then(
    (names) => !names.every(isLeftOver),
    (error: NodeJS.ErrnoException) => error.code !== 'ENOENT',
  );

/** `steploom merge`: writes a model with adapters in its weights, in diffusers' layout or as one file; without any, it turns one form into the other. */
export function addMerge(program: Command): void {
  const command = program
    .command('merge')
    .description('Add adapters to the weights of their model and save the model, as a folder or as one file.');
  addOptions(command, mergeOptions, { mandatory: true }).action(async () => {
    const o = optionsOf(command, mergeOptions);
    // Before the work, not after it.
    const isFile = extname(o.outputDir).toLowerCase() === '.safetensors';
    if (!o.overwriteOutputDir && (isFile ? existsSync(o.outputDir) : await holdsSomething(o.outputDir)))
      fail('OPTION_INVALID', 'merge', `${o.outputDir} holds something already`, 'Give another output_dir, or add overwriteOutputDir.');
    const model = await openModel(o);
    if (isFile) await model.saveSingleFile(folder(dirname(o.outputDir)), basename(o.outputDir), weightsOf(model), { half: o.half });
    else await model.save(folder(o.outputDir), weightsOf(model), { half: o.half });
    console.log(printable(`wrote ${o.outputDir}`));
  });
}
