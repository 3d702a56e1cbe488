import { execFileSync } from 'node:child_process';
import { createRequire } from 'node:module';
import os from 'node:os';
import nodeUtil from 'node:util';
import * as tf from '@tensorflow/tfjs';
import { COLLECTIVE, DEVICE, type DeviceReport, fail, type Host } from '../../core/index.js';
import { registerTensorFlowLists } from './tensorflow/update.js';

type Package = 'tfjs-node' | 'tfjs-node-gpu';

export interface TFJSNodeGpuOptions {
  /** Which GPU this process uses, where CUDA_VISIBLE_DEVICES does not say so already; by default its rank's on this machine. */
  readonly gpu?: number;
}

const require = createRequire(import.meta.url);
const GUIDE = 'docs/tfjs-node-gpu.md shows how to get it working';

const isInstalled = (name: Package): boolean => {
  try {
    require.resolve(`@tensorflow/${name}/package.json`);
    return true;
  } catch {
    return false;
  }
};

/** Loads the package, whose import registers the backend `tensorflow`; what is wrong is said by name. */
async function start(device: string, name: Package): Promise<boolean> {
  const path = `@tensorflow/${name}`;
  // Removed in Node 23, still called by version 4.22.
  const util = nodeUtil as unknown as Record<string, unknown>;
  util.isNullOrUndefined ??= (x: unknown) => x === null || x === undefined;
  util.isArray ??= Array.isArray;
  // Read when the library loads: memory as it is needed, not all of the GPU's at once.
  process.env.TF_FORCE_GPU_ALLOW_GROWTH ??= 'true';
  process.env.TF_CPP_MIN_LOG_LEVEL ??= '1';
  try {
    require(path);
  } catch (error) {
    const first = (error as Error).message.split('\n')[0];
    const missing = /cannot find module|tfjs_binding|no such file|no package/i.test(first) ? 'its binary is missing: ' : '';
    fail('DEVICE_UNAVAILABLE', device, `${path} is installed but does not load (${missing}${first})`, `${GUIDE}.`, error);
  }
  if (!(await tf.setBackend('tensorflow'))) fail('DEVICE_UNAVAILABLE', device, 'TensorFlow could not start', 'See the messages above.');
  await tf.ready();
  registerTensorFlowLists();
  return (tf.backend() as unknown as { isUsingGpuDevice?: boolean }).isUsingGpuDevice === true;
}

const versionOf = (): string => {
  const { binding } = tf.backend() as unknown as { binding: { TF_Version?: string } };
  return binding.TF_Version ? ` ${binding.TF_Version}` : '';
};

const mainMemory = (): string => `${(os.totalmem() / 2 ** 30).toFixed(0)} GiB`;

/** As the driver's own tool says; TensorFlow.js has no call for it. */
function gpuMemory(): string {
  try {
    const args = ['--query-gpu=name,memory.total', '--format=csv,noheader', `--id=${process.env.CUDA_VISIBLE_DEVICES ?? 0}`];
    return execFileSync('nvidia-smi', args, { encoding: 'utf8', timeout: 10_000 }).trim();
  } catch {
    return 'memory unknown: nvidia-smi is missing';
  }
}

/** TensorFlow's own library on the processor, through the optional package @tensorflow/tfjs-node, or -gpu where only that is there. */
export const tfjsNode = () => ({
  name: 'tfjs-node',
  fills: DEVICE,
  async setUp(): Promise<DeviceReport> {
    const name = (['tfjs-node', 'tfjs-node-gpu'] as const).find(isInstalled);
    if (!name)
      return fail(
        'DEVICE_UNAVAILABLE',
        'tfjs-node',
        '@tensorflow/tfjs-node is not installed',
        `npm install @tensorflow/tfjs-node; ${GUIDE}.`,
      );
    const gpu = await start('tfjs-node', name);
    return {
      name: 'tfjs-node',
      detail: `TensorFlow${versionOf()} on ${gpu ? 'a GPU' : 'the processor'}`,
      memory: gpu ? gpuMemory() : mainMemory(),
    };
  },
});

/**
 * TensorFlow's own library on a GPU, through the optional package @tensorflow/tfjs-node-gpu. A process uses one GPU: the one of
 * CUDA_VISIBLE_DEVICES, else number `gpu`.
 */
export const tfjsNodeGpu = ({ gpu }: TFJSNodeGpuOptions = {}) => {
  let local = { localRank: 0, localSize: 1 };
  return {
    name: 'tfjs-node-gpu',
    fills: DEVICE,
    after: [COLLECTIVE],
    apply({ resolve }: Host) {
      local = resolve(COLLECTIVE);
    },
    setUp: () => startGpu(gpu, local),
  };
};

/** The GPU of this process: one of those that CUDA_VISIBLE_DEVICES lists, by the rank on this machine. */
function ownGpu(gpu: number | undefined, { localRank, localSize }: { localRank: number; localSize: number }): string {
  const listed = process.env.CUDA_VISIBLE_DEVICES?.split(',').filter(Boolean);
  if (!listed) return String(gpu ?? localRank);
  return localSize > 1 && listed.length > 1 ? listed[localRank % listed.length] : listed.join();
}

async function startGpu(gpu: number | undefined, local: { localRank: number; localSize: number }): Promise<DeviceReport> {
  if (!isInstalled('tfjs-node-gpu'))
    fail(
      'DEVICE_UNAVAILABLE',
      'tfjs-node-gpu',
      '@tensorflow/tfjs-node-gpu is not installed',
      `npm install @tensorflow/tfjs-node-gpu; ${GUIDE}.`,
    );
  process.env.CUDA_VISIBLE_DEVICES = ownGpu(gpu, local);
  if (!(await start('tfjs-node-gpu', 'tfjs-node-gpu')))
    fail(
      'DEVICE_UNAVAILABLE',
      'tfjs-node-gpu',
      'TensorFlow found no GPU and fell back to the processor',
      `With TF_CPP_MIN_LOG_LEVEL=0 its log names the library that is missing; ${GUIDE}.`,
    );
  return { name: 'tfjs-node-gpu', detail: `TensorFlow${versionOf()} on GPU ${process.env.CUDA_VISIBLE_DEVICES}`, memory: gpuMemory() };
}
