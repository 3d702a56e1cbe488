import { type Host, type Model, ReplayedPart, type Wrap } from '../../core/index.js';
import { operation } from './compute/contract.js';

/**
 * Captures what a step does of the model's large parts when shapes first come, with a memory plan, and replays it whenever they come again, without
 * TensorFlow.js: the host, which is what a GPU waits for in small steps, has a fraction of the work (as CUDA graphs do; PyTorch's make_graphed_callables).
 * Results are the same bit for bit. Parts that cannot be captured run as ever, and it says why; so does everything on devices that cannot capture.
 */
export const graphCapture = () => {
  const parts: ReplayedPart[] = [];
  return {
    name: 'graph-capture',
    apply({ hooks, warn }: Host) {
      hooks.prepareModel.tap((model): Model => {
        const capturer = operation('graphCapturer');
        if (!capturer) return model;
        const wraps = new Map<string, readonly Wrap[]>(model.wraps);
        for (const path of model.graphs ?? []) {
          const part = new ReplayedPart(capturer(), (why) => warn(`${path} runs operation by operation: ${why}`));
          parts.push(part);
          wraps.set(path, [...(wraps.get(path) ?? []), part.wrap]);
        }
        return { ...model, wraps };
      });
    },
    dispose() {
      for (const part of parts) part.dispose();
    },
  };
};
