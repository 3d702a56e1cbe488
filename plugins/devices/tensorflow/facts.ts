import { execFileSync } from 'node:child_process';
import os from 'node:os';
import { currentBackend } from './internals.js';

/** The library's version, behind a blank; nothing where it does not say. */
export const libraryVersion = (): string => {
  const { TF_Version } = currentBackend().binding;
  return TF_Version ? ` ${TF_Version}` : '';
};

export const mainMemory = (): string => `${(os.totalmem() / 2 ** 30).toFixed(0)} GiB`;

/** As the driver's tool says; TensorFlow.js has no call for it. */
export function gpuMemory(): string {
  try {
    const args = ['--query-gpu=name,memory.total', '--format=csv,noheader', `--id=${process.env.CUDA_VISIBLE_DEVICES ?? 0}`];
    return execFileSync('nvidia-smi', args, { encoding: 'utf8', timeout: 10_000 }).trim();
  } catch {
    return 'memory unknown: nvidia-smi is missing';
  }
}
