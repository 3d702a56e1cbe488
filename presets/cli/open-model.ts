import type { z } from 'zod';
import { printable, seededRandom } from '../../core/index.js';
import * as tf from '../../core/tf.js';
import { mergeLora } from '../../plugins/adapters/lora/merge.js';
import { toTensors } from '../../plugins/adapters/lora/serialize.js';
import { device } from '../../plugins/devices/device.js';
import { buildTextToImage } from '../../plugins/models/stable-diffusion/build.js';
import type { MixedPrecision } from '../../plugins/models/stable-diffusion/half-precision.js';
import type { TextToImage } from '../../plugins/models/stable-diffusion/text-to-image.js';
import type { LoraFile } from '../../plugins/persist/formats/lora-file.js';
import { modelSource, type SourceOptions } from '../common/model-source.js';
import { runOptions, texts, weightsOptions } from '../common/options.js';
import { findAdapter, parseAdapter } from './adapters.js';

/** The options of commands that open a model. */
export const openOptions = {
  ...weightsOptions,
  device: runOptions.device,
  lora: texts().describe(
    'Adapters, each a .safetensors file, the folder of a run or of a checkpoint, with :0.8 behind it for less than its whole.',
  ),
};

type OpenOptions = Omit<z.output<z.ZodObject<typeof openOptions>>, 'lora'> &
  Partial<SourceOptions> & { readonly mixedPrecision?: MixedPrecision } & { readonly lora?: string | readonly string[] | undefined };

/** A model on a device, with adapters merged into its weights, one after another, if any are given. */
export async function openModel({ device: name, lora = [], mixedPrecision = 'no', ...source }: OpenOptions): Promise<TextToImage> {
  // What is no adapter is refused before the work.
  const adapters: { adapter: LoraFile; share: number }[] = [];
  for (const given of [lora].flat()) {
    const { path, share } = parseAdapter(given);
    adapters.push({ adapter: await findAdapter(path), share });
  }
  await device(name).setUp();
  const note = (what: string) => console.error(printable(what));
  const model = await buildTextToImage({ ...modelSource(source), train: 'nothing', mixedPrecision, note }, seededRandom(0));
  for (const { adapter, share } of adapters) {
    const modules = toTensors(adapter.read(model.modules), model);
    await mergeLora(
      model,
      modules.map((module) => ({ ...module, share })),
    );
    tf.dispose(modules.flatMap(({ a, b, magnitude }) => [a, b, ...(magnitude ? [magnitude] : [])]));
  }
  return model;
}
