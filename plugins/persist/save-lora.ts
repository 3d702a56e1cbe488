import type { Host } from '../../core/index.js';
import { LORA_FILE, writeLora } from '../adapters/lora-file.js';
import { folder } from './folder.js';

/** Writes the adapters as diffusers' pytorch_lora_weights.safetensors when the run ends, also when it was stopped. Needs Node. */
export const saveLora = (into: string, options: { rank: number; alpha: number; rslora?: boolean }) => ({
  name: 'save-lora',
  requires: ['lora'],
  apply: (host: Host) =>
    host.hooks.onEnd.tapPromise('save-lora', async () => {
      if (!host.isFirstRank()) return;
      await folder(into).write(LORA_FILE, await writeLora(host.model(), host.weights('export'), options));
    }),
});
