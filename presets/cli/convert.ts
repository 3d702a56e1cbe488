import { existsSync } from 'node:fs';
import { basename } from 'node:path';
import type { Command } from 'commander';
import { z } from 'zod';
import { fail, type ModuleFacts } from '../../core/index.js';
import { standardModules } from '../../plugins/models/stable-diffusion/standard-modules.js';
import { writeAtomically } from '../../plugins/persist/formats/atomic-file.js';
import { folder } from '../../plugins/persist/formats/folder.js';
import { writeLoraFile } from '../../plugins/persist/formats/lora/diffusers.js';
import { FAMILY_NAMES, type Family, familyOfModel } from '../../plugins/persist/formats/lora/family.js';
import { writeKohyaLora } from '../../plugins/persist/formats/lora/kohya.js';
import { type AdapterSource, findAdapter } from './adapters.js';
import { modulesOf } from './model-modules.js';
import { addOptions, optionsOf } from './options.js';

const convertOptions = z.strictObject({
  input: z.string().min(1).describe('An adapter: a .safetensors file of any form, the folder of a run, of peft’s or of a checkpoint.'),
  output: z.string().min(1).describe('The .safetensors file to write.'),
  to: z.enum(['diffusers', 'kohya']).describe('The form to write: diffusers’, or kohya’s, which ComfyUI and AUTOMATIC1111 read.'),
  pretrainedModelNameOrPath: z
    .string()
    .optional()
    .describe('The model it belongs to, where its file does not tell a published family, or its modules are not that family’s.'),
  half: z.boolean().default(false).describe('Write float16.'),
  overwrite: z.boolean().default(false).describe('Write output also where there is such a file already.'),
});

/** The modules an adapter belongs to: those of the model that is given, else those of the family that its file tells. */
async function modulesFor(source: AdapterSource, input: string, model: string | undefined): Promise<ReadonlyMap<string, ModuleFacts>> {
  if (model !== undefined) return modulesOf(folder(model));
  const family = (Object.keys(FAMILY_NAMES) as Family[]).find((one) => FAMILY_NAMES[one] === source.family);
  if (family) return standardModules(family);
  const what = source.family ? `is one of ${source.family}` : 'does not tell which model it belongs to';
  return fail('OPTION_MISSING', 'convert', `${input} ${what}`, 'Give --pretrained_model_name_or_path.');
}

/** What a file said of itself, without what belongs to its own bytes. */
const carried = (metadata: AdapterSource['metadata']): Record<string, string> =>
  Object.fromEntries(Object.entries(metadata).filter(([name]) => !/^(sshs_|lora_adapter_metadata$)/.test(name)));

/** `steploom convert`: turns an adapter of one form into another. */
export function addConvert(program: Command): void {
  const command = program.command('convert').description('Turn an adapter of one form into another.');
  addOptions(command, convertOptions, { mandatory: true }).action(async () => {
    const o = optionsOf(command, convertOptions);
    if (!o.overwrite && existsSync(o.output))
      fail('OPTION_INVALID', 'convert', `there is ${o.output} already`, 'Give another output, or add --overwrite.');
    const source = await findAdapter(o.input);
    const modules = await modulesFor(source, o.input, o.pretrainedModelNameOrPath);
    const adapters = source.read(modules);
    const written = { half: o.half, metadata: carried(source.metadata) };
    if (o.to === 'diffusers') await writeAtomically(o.output, writeLoraFile(adapters, written));
    else {
      const family = familyOfModel(modules);
      if (!family)
        return fail('UNSUPPORTED_OPTION', 'convert', `${o.pretrainedModelNameOrPath} is no Stable Diffusion`, 'Write diffusers’ form.');
      const vPrediction = /_v$/.test(source.metadata.ss_base_model_version ?? '') || source.metadata['modelspec.prediction_type'] === 'v';
      const name = source.metadata.ss_output_name ?? basename(o.output).replace(/(\.kohya)?\.safetensors$/i, '');
      await writeAtomically(o.output, await writeKohyaLora(adapters, { ...written, family, vPrediction, name, modules: modules.keys() }));
    }
    console.log(`wrote ${o.output}: ${adapters.length} modules`);
  });
}
