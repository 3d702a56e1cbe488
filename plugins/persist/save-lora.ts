import { type Host, weightsOf } from '../../core/index.js';
import { writeLora } from '../adapters/lora/serialize.js';
import { folder } from './formats/folder.js';
import { LORA_FILE } from './formats/lora-file.js';

/**
 * Writes the adapters as diffusers' pytorch_lora_weights.safetensors when the run ends, also when it was stopped; where some plugin
 * averages, the averaged ones beside it in averaged/. Needs Node.
 */
export const saveLora = (into: string, options: { rank: number; alpha: number; rslora?: boolean }) => ({
  name: 'save-lora',
  requires: ['lora'],
  apply: (host: Host) =>
    host.hooks.onEnd.tapPromise(async () => {
      if (!host.isFirstRank()) return;
      const model = host.model();
      const [trained, exported] = [weightsOf(model), host.weights('export')];
      await folder(into).write(LORA_FILE, await writeLora(model, trained, options));
      if (Object.keys(trained).some((path) => trained[path] !== exported[path]))
        await folder(into).write(`averaged/${LORA_FILE}`, await writeLora(model, exported, options));
    }),
});
