import { join } from 'node:path';
import { type Host, type Model, type Tensors, weightsOf } from '../../core/index.js';
import { loraMatrices } from '../adapters/lora/serialize.js';
import { isTextToImage } from '../models/stable-diffusion/text-to-image.js';
import { runName } from './folders/run-name.js';
import { folder } from './formats/folder.js';
import { writeLoraFile } from './formats/lora/diffusers.js';
import { familyOfModel } from './formats/lora/family.js';
import { kohyaFile, tagFrequency, writeKohyaLora } from './formats/lora/kohya.js';
import type { LoraScaling } from './formats/lora/matrices.js';
import { modelMetadata, type TrainedModel } from './formats/lora/model-metadata.js';
import { LORA_FILE } from './formats/lora-file.js';
import { refuseRuined, trainedOf } from './weights/finite.js';

export interface SaveLoraOptions {
  /** The side of the pictures in pixels, for the files' metadata; what the model was made for by default. */
  readonly resolution?: number;
}

/** What other programs are told of a model; null of one that they do not have: it is none of Stable Diffusion. */
function trainedModel(model: Model, name: string, resolution?: number): TrainedModel | null {
  if (!isTextToImage(model)) return null;
  const { modules, codec, latentSize, noise } = model;
  const family = familyOfModel(modules);
  if (!family) return null;
  const vPrediction = noise.config.prediction_type === 'v_prediction';
  return { family, vPrediction, name, resolution: resolution ?? latentSize * codec.factor };
}

/**
 * Writes the adapters when the run ends, also when it was stopped: as diffusers' pytorch_lora_weights.safetensors and, of models of Stable
 * Diffusion, beside it in kohya's form, which ComfyUI and AUTOMATIC1111 read, under the folder's name: `<name>.kohya.safetensors`. Where
 * some plugin averages, the averaged ones are in averaged/. `adapter` is the run's lora(). Needs Node.
 */
export const saveLora = (into: string, adapter: LoraScaling, { resolution }: SaveLoraOptions = {}) => {
  async function write({ model: modelOf, wrote }: Host, weights: Tensors, below: string, captions: readonly string[]): Promise<void> {
    const model = modelOf();
    const modules = await loraMatrices(model, weights, adapter);
    const base = trainedModel(model, runName(into), resolution);
    await folder(into).write(below + LORA_FILE, writeLoraFile(modules, base ? { metadata: modelMetadata(base) } : {}));
    wrote(join(into, below + LORA_FILE));
    if (!base) return;
    const kohya = await writeKohyaLora(modules, { ...base, tags: tagFrequency(captions), modules: model.modules.keys() });
    await folder(into).write(below + kohyaFile(base.name), kohya);
    wrote(join(into, below + kohyaFile(base.name)));
  }

  return {
    name: 'save-lora',
    requires: ['lora'],
    // What is saved are the weights that the run ends with.
    after: ['early-stopping'],
    apply(host: Host) {
      let captions: readonly string[] = [];
      host.hooks.prepareData.tap((source) => {
        captions = source.strings?.text ?? [];
        return source;
      });
      host.hooks.onEnd.tapPromise(async () => {
        if (!host.isFirstRank()) return;
        const model = host.model();
        const [trained, exported] = [weightsOf(model), host.weights('export')];
        for (const weights of [trained, exported]) await refuseRuined('save-lora', trainedOf(model, weights));
        await write(host, trained, '', captions);
        if (Object.keys(trained).some((path) => trained[path] !== exported[path])) await write(host, exported, 'averaged/', captions);
      });
    },
  };
};
