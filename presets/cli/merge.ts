import type { Command } from 'commander';
import { z } from 'zod';
import { weightsOf } from '../../core/index.js';
import { folder } from '../../plugins/persist/formats/folder.js';
import { openModel, openOptions } from './open-model.js';
import { addOptions, optionsOf } from './options.js';

const mergeOptions = z.strictObject({
  ...openOptions,
  outputDir: z.string().min(1).describe('Where the model is written.'),
  half: z.boolean().default(false).describe('Write float16.'),
});

/** `steploom merge`: writes a model with an adapter in its weights, in diffusers' layout. */
export function addMerge(program: Command): void {
  const command = program.command('merge').description('Add an adapter to the weights of its model and save the model.');
  addOptions(command, mergeOptions, { mandatory: true }).action(async () => {
    const o = optionsOf(command, mergeOptions);
    const model = await openModel(o);
    await model.save(folder(o.outputDir), weightsOf(model), { half: o.half });
    console.log(`wrote ${o.outputDir}`);
  });
}
