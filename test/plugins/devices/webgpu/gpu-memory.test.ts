import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { gpuMemory } from '../../../../plugins/devices/webgpu/gpu-memory.js';

const adapter = (vendor: string, description: string) => ({ info: { vendor, description, device: '' } }) as GPUAdapter;

test('a GPU’s memory is what NVIDIA’s tool says of the one of that name, and unknown for others and without the tool', () => {
  const folder = mkdtempSync(join(tmpdir(), 'steploom-smi-'));
  const { PATH } = process.env;
  try {
    process.env.PATH = folder;
    expect(gpuMemory(adapter('nvidia', 'NVIDIA T4'))).toBeUndefined();
    writeFileSync(join(folder, 'nvidia-smi'), '#!/bin/sh\necho "NVIDIA H200, 143771"\necho "NVIDIA T4, 15360"\n', { mode: 0o755 });
    expect(gpuMemory(adapter('nvidia', 'NVIDIA T4'))).toBe(15 * 2 ** 30);
    expect(gpuMemory(adapter('nvidia', 'another name'))).toBe(143771 * 2 ** 20);
    expect(gpuMemory(adapter('amd', 'NVIDIA T4'))).toBeUndefined();
    writeFileSync(join(folder, 'nvidia-smi'), '#!/bin/sh\necho "No devices were found"\n', { mode: 0o755 });
    expect(gpuMemory(adapter('nvidia', 'NVIDIA T4'))).toBeUndefined();
  } finally {
    process.env.PATH = PATH;
    rmSync(folder, { recursive: true });
  }
});
