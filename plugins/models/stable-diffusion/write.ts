import { type TensorData, type Tensors, toHost } from '../../../core/index.js';
import type { Files } from '../../persist/formats/files.js';
import { fileShape, toFile } from '../../persist/formats/pytorch-layout.js';
import { writeSafetensors } from '../../persist/formats/safetensors.js';
import type { WeightSpec } from '../layers/builder.js';
import { WEIGHTS } from './components.js';
import type { Joined } from './join.js';

/** What JSON has no word for (Python's infinities) is left out: it is a default there. */
const json = (value: object): string =>
  `${JSON.stringify(value, (_, one) => (one === Number.POSITIVE_INFINITY || one === Number.NEGATIVE_INFINITY ? undefined : one), 2)}\n`;

/** Writes a model in diffusers' folder layout with these weights; as float16 where `half` is set. */
export async function writeComponents(files: Files, weights: Tensors, { unet, text, components }: Joined, half: boolean): Promise<void> {
  const scheduler = components.noise._class_name ?? 'DDIMScheduler';
  await files.write('unet/config.json', json({ _class_name: 'UNet2DConditionModel', _diffusers_version: '0.42.1', ...unet.config }));
  await files.write(WEIGHTS.unet, await weightsFile(weights, unet.specs, half, (path) => path.replace(/^unet\./, '')));
  await files.write(
    'text_encoder/config.json',
    // As it was given: transformers refuses 1 where it expects 1.0, and JSON here cannot tell them apart.
    json({
      architectures: ['CLIPTextModel'],
      model_type: 'clip_text_model',
      bos_token_id: 0,
      eos_token_id: 1,
      pad_token_id: 1,
      ...components.text,
      dtype: half ? 'float16' : 'float32',
    }),
  );
  await files.write(WEIGHTS.text, await weightsFile(weights, text.specs, half, (path) => path.replace(/^text_encoder\./, 'text_model.')));
  await files.write('scheduler/scheduler_config.json', json({ _class_name: scheduler, _diffusers_version: '0.42.1', ...components.noise }));
  await files.write('vae/config.json', json({ _class_name: 'SpaceToDepth', block_size: components.block }));
  await files.write(
    'model_index.json',
    json({
      _class_name: 'StableDiffusionPipeline',
      _diffusers_version: '0.42.1',
      scheduler: ['diffusers', scheduler],
      text_encoder: ['transformers', 'CLIPTextModel'],
      tokenizer: ['steploom', 'Tokenizer'],
      unet: ['diffusers', 'UNet2DConditionModel'],
      vae: ['steploom', 'SpaceToDepth'],
    }),
  );
  await components.tokenizer.save(files);
}

async function weightsFile(
  weights: Tensors,
  specs: readonly WeightSpec[],
  half: boolean,
  rename: (path: string) => string,
): Promise<Uint8Array> {
  const tensors: Record<string, TensorData> = {};
  for (const spec of specs) {
    const { data } = await toHost(weights[spec.path]);
    tensors[rename(spec.path)] = { dtype: 'float32', shape: fileShape(spec), data: toFile(data as Float32Array, spec) };
  }
  return writeSafetensors(tensors, { half });
}
