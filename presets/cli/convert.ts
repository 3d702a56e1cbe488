import { existsSync } from 'node:fs';
import { basename, extname, join } from 'node:path';
import type { Command } from 'commander';
import { z } from 'zod';
import { fail, type ModuleFacts, printable } from '../../core/index.js';
import { modulesOfModel, standardModules } from '../../plugins/models/stable-diffusion/modules.js';
import { writeAtomically } from '../../plugins/persist/formats/atomic-file.js';
import { writeLoraFile } from '../../plugins/persist/formats/lora/diffusers.js';
import { FAMILY_NAMES, type Family, familyOfModel } from '../../plugins/persist/formats/lora/family.js';
import { kohyaFile, writeKohyaLora } from '../../plugins/persist/formats/lora/kohya.js';
import { saysVPrediction } from '../../plugins/persist/formats/lora/model-metadata.js';
import { LORA_FILE, type LoraFile } from '../../plugins/persist/formats/lora-file.js';
import { modelSource } from '../common/model-source.js';
import { snake } from '../common/option-facts.js';
import { text, weightsOptions } from '../common/options.js';
import { findAdapter } from './adapters.js';
import { openModel, openOptions } from './open-model.js';
import { addOptions, optionsOf } from './options.js';
import { requireFree, writeModel } from './write-model.js';

const convertOptions = z.strictObject({
  input: text().describe('An adapter: a .safetensors file of any form, the folder of a run, of peft’s or of a checkpoint; or a model.'),
  output: text().describe('The .safetensors file to write, or the folder to write it into.'),
  to: z
    .enum(['diffusers', 'kohya', 'model-folder', 'single-file'])
    .describe(
      'The form to write: of an adapter diffusers’, or kohya’s, which ComfyUI and AUTOMATIC1111 read; of a model, with adapters in its weights if lora is given, diffusers’ folder or one file.',
    ),
  pretrainedModelNameOrPath: weightsOptions.pretrainedModelNameOrPath.describe(
    'Of an adapter the model it belongs to, where its file does not tell a published family, or its modules are not that family’s.',
  ),
  predictionType: weightsOptions.predictionType,
  pretrainedVaeModelNameOrPath: weightsOptions.pretrainedVaeModelNameOrPath,
  variant: weightsOptions.variant,
  lora: openOptions.lora.optional(),
  device: openOptions.device.unwrap().optional().describe('Where to compute, of a model; the best that works by default.'),
  half: z.boolean().default(false).describe('Write float16.'),
  overwrite: z.boolean().default(false).describe('Write output also where there is such a file already.'),
});

type ConvertOptions = z.output<typeof convertOptions>;

/** Refuses options that mean nothing for what is converted. */
function refuseUnused(o: ConvertOptions, what: string, ...names: (keyof ConvertOptions)[]): void {
  const given = names.filter((name) => o[name] !== undefined);
  if (given.length > 0)
    fail('OPTION_INVALID', 'convert', `${given.map((name) => `--${snake(name)}`).join(', ')}: of no use for ${what}`, 'Leave it out.');
}

/** What an adapter belongs to: the model that is given, else the family that its file tells. */
async function modelOf(
  adapter: LoraFile,
  { input, pretrainedModelNameOrPath, predictionType }: ConvertOptions,
): Promise<{ modules: ReadonlyMap<string, ModuleFacts>; vPrediction: boolean }> {
  if (pretrainedModelNameOrPath !== undefined) {
    const { from, ...options } = modelSource({ pretrainedModelNameOrPath, predictionType });
    const { modules, predicts } = await modulesOfModel(from, options);
    return { modules, vPrediction: predicts === 'v_prediction' };
  }
  const family = (Object.keys(FAMILY_NAMES) as Family[]).find((one) => FAMILY_NAMES[one] === adapter.family);
  if (family)
    return {
      modules: standardModules(family),
      vPrediction: predictionType ? predictionType === 'v_prediction' : saysVPrediction(adapter.metadata),
    };
  if (adapter.family)
    fail(
      'LORA_MISMATCH',
      'convert',
      `${input} is an adapter of ${adapter.family}`,
      `Give one of ${Object.values(FAMILY_NAMES).join(', ')}, or the model with --pretrained_model_name_or_path.`,
    );
  return fail('OPTION_MISSING', 'convert', `${input} does not tell which model it belongs to`, 'Give --pretrained_model_name_or_path.');
}

/** What a file said of itself, without what belongs to its own bytes. */
const carried = (metadata: LoraFile['metadata']): Record<string, string> =>
  Object.fromEntries(Object.entries(metadata).filter(([name]) => !/^(sshs_|modelspec\.hash|lora_adapter_metadata$)/.test(name)));

/** Writes a model in another form, with adapters in its weights if there are any. */
async function convertModel(o: ConvertOptions): Promise<void> {
  const { input, output, to, half, overwrite, lora, device = 'auto' } = o;
  refuseUnused(o, 'a model, which is the input itself', 'pretrainedModelNameOrPath');
  if ((extname(output).toLowerCase() === '.safetensors') !== (to === 'single-file'))
    fail('OPTION_INVALID', 'convert', `${output} is no name for a ${to}`, 'One file ends in .safetensors, a folder does not.');
  if (!overwrite) await requireFree('convert', output, 'Give another output, or add --overwrite.');
  await writeModel(await openModel({ ...o, pretrainedModelNameOrPath: input, device, lora }), output, half);
  console.log(printable(`wrote ${output}`));
}

/** `steploom convert`: turns an adapter, or a model, of one form into another. */
export function addConvert(program: Command): void {
  const command = program.command('convert').description('Turn an adapter or a model of one form into another.');
  addOptions(command, convertOptions).action(async () => {
    const o = optionsOf(command, convertOptions);
    if (o.to === 'model-folder' || o.to === 'single-file') return convertModel(o);
    refuseUnused(
      o,
      'an adapter (--to model-folder or single-file writes a model)',
      'lora',
      'device',
      'variant',
      'pretrainedVaeModelNameOrPath',
    );
    const isFile = extname(o.output).toLowerCase() === '.safetensors';
    const title = basename(o.output).replace(/(\.kohya)?\.safetensors$/i, '');
    const output = isFile ? o.output : join(o.output, o.to === 'kohya' ? kohyaFile(title) : LORA_FILE);
    // Before the work, not after it.
    if (!o.overwrite && existsSync(output))
      fail('OPTION_INVALID', 'convert', `there is ${output} already`, 'Give another output, or add --overwrite.');
    const adapter = await findAdapter(o.input);
    const { modules, vPrediction } = await modelOf(adapter, o);
    const matrices = adapter.read(modules);
    const options = { half: o.half, metadata: carried(adapter.metadata) };
    if (o.to === 'diffusers') await writeAtomically(output, writeLoraFile(matrices, options));
    else {
      const family = familyOfModel(modules);
      if (!family)
        return fail('UNSUPPORTED_OPTION', 'convert', `${o.pretrainedModelNameOrPath} is no Stable Diffusion`, 'Write diffusers’ form.');
      const name = adapter.metadata.ss_output_name ?? title;
      await writeAtomically(output, await writeKohyaLora(matrices, { ...options, family, vPrediction, name, modules: modules.keys() }));
    }
    console.log(`wrote ${output}: ${matrices.length} modules`);
  });
}
