import type { Host } from '../../core/index.js';
import { type LoraScaling, scalingOf } from '../persist/formats/lora/matrices.js';
import { mergeLora } from './lora/merge.js';
import { loraModules } from './lora/modules.js';

/** Adds the trained adapters to the model's weights when the run ends, so that a model of the caller's is left fine-tuned. `adapter` is the run's lora(). */
export const mergeAtEnd = (adapter: LoraScaling) => ({
  name: 'merge-at-end',
  requires: ['lora'],
  after: ['early-stopping'],
  apply: (host: Host) =>
    host.hooks.onEnd.tapPromise(() => {
      const model = host.model();
      const modules = loraModules(model, host.weights('export'));
      return mergeLora(
        model,
        modules.map((module) => ({ ...module, scale: scalingOf(module.path, adapter).scale })),
      );
    }),
});
