import { basename, resolve } from 'node:path';
import { type Host, type Model, type Tensors, weightsOf } from '../../core/index.js';
import { type LoraScaling, loraMatrices } from '../adapters/lora/serialize.js';
import { isTextToImage, type TextToImage } from '../models/text-to-image-model.js';
import { folder } from './formats/folder.js';
import { writeLoraFile } from './formats/lora/diffusers.js';
import { type Family, familyOfModel } from './formats/lora/family.js';
import { kohyaFile, tagFrequency, writeKohyaLora } from './formats/lora/kohya.js';
import { LORA_FILE } from './formats/lora-file.js';
import { refuseRuined, trainedOf } from './weights/finite.js';

export interface SaveLoraOptions {
  /** The side of the pictures in pixels, for kohya's metadata; what the model was made for by default. */
  readonly resolution?: number;
}

/** The family whose programs can use the adapters; null of models that are none of Stable Diffusion, such as those that work on pixels. */
function familyOf({ channels, codec, modules }: TextToImage): Family | null {
  return channels === 3 * codec.factor ** 2 ? null : familyOfModel(modules);
}

/**
 * Writes the adapters when the run ends, also when it was stopped: as diffusers' pytorch_lora_weights.safetensors and, of models of Stable
 * Diffusion, beside it in kohya's form, which ComfyUI and AUTOMATIC1111 read, under the folder's name: `<name>.kohya.safetensors`. Where
 * some plugin averages, the averaged ones are in averaged/. `adapter` is the run's lora(). Needs Node.
 */
export const saveLora = (into: string, adapter: LoraScaling, { resolution }: SaveLoraOptions = {}) => {
  async function write(model: Model, weights: Tensors, below: string, captions: readonly string[]): Promise<void> {
    const modules = await loraMatrices(model, weights, adapter);
    await folder(into).write(below + LORA_FILE, writeLoraFile(modules));
    const family = isTextToImage(model) ? familyOf(model) : null;
    if (!isTextToImage(model) || !family) return;
    const name = basename(resolve(into)) || 'lora';
    const kohya = await writeKohyaLora(modules, {
      family,
      vPrediction: model.noise.config.prediction_type === 'v_prediction',
      name,
      resolution: resolution ?? model.latentSize * model.codec.factor,
      tags: tagFrequency(captions),
      modules: model.modules.keys(),
    });
    await folder(into).write(below + kohyaFile(name), kohya);
  }

  return {
    name: 'save-lora',
    requires: ['lora'],
    apply(host: Host) {
      let captions: readonly string[] = [];
      host.hooks.prepareData.tap((source) => {
        captions = source.strings?.text ?? [];
        return source;
      });
      host.hooks.onEnd.tapPromise(async () => {
        if (!host.isFirstRank()) return;
        const [model, exported] = [host.model(), host.weights('export')];
        const trained = weightsOf(model);
        for (const weights of [trained, exported]) await refuseRuined('save-lora', trainedOf(model, weights));
        await write(model, trained, '', captions);
        if (Object.keys(trained).some((path) => trained[path] !== exported[path])) await write(model, exported, 'averaged/', captions);
      });
    },
  };
};
