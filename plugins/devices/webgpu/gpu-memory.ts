/** The memory of an NVIDIA GPU in bytes, as the driver's tool says: WebGPU has no call for it. Undefined for other GPUs, and where there is no such tool. */
export function gpuMemory({ info }: GPUAdapter): number | undefined {
  const builtin = globalThis.process?.getBuiltinModule;
  if (!builtin || info.vendor !== 'nvidia') return undefined;
  try {
    const args = ['--query-gpu=name,memory.total', '--format=csv,noheader,nounits'];
    const text = builtin('node:child_process').execFileSync('nvidia-smi', args, { encoding: 'utf8', timeout: 10_000 });
    const gpus = text
      .trim()
      .split('\n')
      .map((line) => line.split(','));
    // Which of several Dawn has taken is not told: those of one name are alike.
    const [, mebibytes] = gpus.find(([name]) => info.device.includes(name) || info.description.includes(name)) ?? gpus[0];
    const bytes = Number(mebibytes) * 2 ** 20;
    return bytes > 0 ? bytes : undefined;
  } catch {
    return undefined;
  }
}
