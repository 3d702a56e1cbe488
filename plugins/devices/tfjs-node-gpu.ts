import { COLLECTIVE, DEVICE, type DeviceReport, fail, type Host } from '../../core/index.js';
import { GUIDE, install, isInstalled } from './tensorflow/backend.js';
import { gpuMemory, libraryVersion } from './tensorflow/facts.js';
import { currentBackend } from './tensorflow/internals.js';

export interface TFJSNodeGpuOptions {
  /** Which GPU this process uses, where CUDA_VISIBLE_DEVICES does not say so already; by default its rank's on this machine. */
  readonly gpu?: number;
}

interface Local {
  readonly localRank: number;
  readonly localSize: number;
}

/**
 * TensorFlow's library on a GPU, through the optional package @tensorflow/tfjs-node-gpu. A process uses one GPU: the one of
 * CUDA_VISIBLE_DEVICES, else number `gpu`.
 */
export const tfjsNodeGpu = ({ gpu }: TFJSNodeGpuOptions = {}) => {
  let local: Local = { localRank: 0, localSize: 1 };
  return {
    name: 'tfjs-node-gpu',
    fills: DEVICE,
    after: [COLLECTIVE],
    apply({ resolve }: Host) {
      local = resolve(COLLECTIVE);
    },
    async setUp(): Promise<DeviceReport> {
      const unavailable = (what: string, fix: string) => fail('DEVICE_UNAVAILABLE', 'tfjs-node-gpu', what, `${fix}; ${GUIDE}.`);
      if (!isInstalled('tfjs-node-gpu')) unavailable('@tensorflow/tfjs-node-gpu is not installed', 'npm install @tensorflow/tfjs-node-gpu');
      await install('tfjs-node-gpu', 'tfjs-node-gpu', gpuOf(gpu, local));
      if (currentBackend().isUsingGpuDevice !== true)
        unavailable(
          'TensorFlow found no GPU and fell back to the processor',
          'With TF_CPP_MIN_LOG_LEVEL=0 its log names the library that is missing',
        );
      const detail = `TensorFlow${libraryVersion()} on GPU ${process.env.CUDA_VISIBLE_DEVICES}`;
      return { name: 'tfjs-node-gpu', detail, memory: gpuMemory() };
    },
  };
};

/** The GPU of this process: one of those that CUDA_VISIBLE_DEVICES lists, by the rank on this machine. */
function gpuOf(gpu: number | undefined, { localRank, localSize }: Local): string {
  const listed = process.env.CUDA_VISIBLE_DEVICES?.split(',').filter(Boolean);
  if (!listed) return String(gpu ?? localRank);
  return localSize > 1 && listed.length > 1 ? listed[localRank % listed.length] : listed.join();
}
