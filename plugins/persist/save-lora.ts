import { type Host, weightsOf } from '../../core/index.js';
import { writeLora } from '../adapters/lora/serialize.js';
import { folder } from './formats/folder.js';
import { LORA_FILE } from './formats/lora-file.js';
import { refuseRuined, trainedOf } from './weights/finite.js';

/**
 * Writes the adapters as diffusers' pytorch_lora_weights.safetensors when the run ends, also when it was stopped; where some plugin
 * averages, the averaged ones beside it in averaged/. `adapter` is the run's lora(). Needs Node.
 */
export const saveLora = (into: string, adapter: { readonly rank: number; readonly alpha: number; readonly rslora?: boolean }) => ({
  name: 'save-lora',
  requires: ['lora'],
  apply: (host: Host) =>
    host.hooks.onEnd.tapPromise(async () => {
      if (!host.isFirstRank()) return;
      const model = host.model();
      const [trained, exported] = [weightsOf(model), host.weights('export')];
      for (const weights of [trained, exported]) await refuseRuined('save-lora', trainedOf(model, weights));
      await folder(into).write(LORA_FILE, await writeLora(model, trained, adapter));
      if (Object.keys(trained).some((path) => trained[path] !== exported[path]))
        await folder(into).write(`averaged/${LORA_FILE}`, await writeLora(model, exported, adapter));
    }),
});
