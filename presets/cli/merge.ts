import type { Command } from 'commander';
import { z } from 'zod';
import { printable } from '../../core/index.js';
import { text } from '../common/options.js';
import { openModel, openOptions } from './open-model.js';
import { addOptions, optionsOf } from './options.js';
import { requireFree, writeModel } from './write-model.js';

const mergeOptions = z.strictObject({
  ...openOptions,
  lora: openOptions.lora.optional(),
  outputDir: text().describe('The folder that the model is written into, or one .safetensors file, as AUTOMATIC1111 and ComfyUI read it.'),
  half: z.boolean().default(false).describe('Write float16.'),
  overwriteOutputDir: z.boolean().default(false).describe('Write output_dir also where there is something already.'),
});

/** `steploom merge`: writes a model with adapters in its weights, in diffusers' layout or as one file; without any, it turns one form into the other. */
export function addMerge(program: Command): void {
  const command = program
    .command('merge')
    .description('Add adapters to the weights of their model and save the model, as a folder or as one file.');
  addOptions(command, mergeOptions).action(async () => {
    const o = optionsOf(command, mergeOptions);
    if (!o.overwriteOutputDir) await requireFree('merge', o.outputDir, 'Give another output_dir, or add overwriteOutputDir.');
    await writeModel(await openModel(o), o.outputDir, o.half);
    console.log(printable(`wrote ${o.outputDir}`));
  });
}
