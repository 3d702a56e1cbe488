import { afterAll, expect, test } from 'vitest';
import {
  forwardMatrixShader,
  keyMatrixShader,
  type MatrixPlan,
  type MatrixShader,
  matrixMemoryOf,
  matrixPlanFor,
  queryMatrixShader,
} from '../../../../plugins/devices/webgpu/attention-tensor-cores.js';

// Dawn's driver that computes nothing knows fragments, though no GPU is there: what it says of the shaders. What they compute is checked on a GPU, by
// test/bench/attention.mjs.
const dawn = await import('webgpu');
Object.assign(globalThis, dawn.globals);
const gpu = dawn.create(['backend=null', 'enable-dawn-features=allow_unsafe_apis,vulkan_enable_f16_on_nvidia,use_vulkan_memory_model']);
const adapter = (await gpu.requestAdapter()) as GPUAdapter;
const device = await adapter.requestDevice({
  requiredFeatures: ['shader-f16', 'subgroups', 'chromium-experimental-subgroup-matrix'] as GPUFeatureName[],
});

// Its instance must live as long as it.
afterAll(() => {
  device.destroy();
  expect(gpu).toBeDefined();
});

const shaders = (kind: MatrixShader, d: number, plan: MatrixPlan): string[] => {
  if (kind === 'forward') return [forwardMatrixShader(d, plan)];
  return kind === 'dq' ? [queryMatrixShader(d, plan)] : [keyMatrixShader(d, plan, false), keyMatrixShader(d, plan, true)];
};
const KINDS = ['forward', 'dq', 'dk dv'] as const;

test.each([8, 40, 64, 80, 160])('the shaders for heads of %i are valid, and fit the memory that a GPU with tensor cores has', async (d) => {
  for (const kind of KINDS) {
    const plan = matrixPlanFor(kind, d, 49152) as MatrixPlan;
    expect(matrixMemoryOf(kind, d, plan)).toBeLessThanOrEqual(49152);
    for (const code of shaders(kind, d, plan)) {
      const { messages } = await device.createShaderModule({ code }).getCompilationInfo();
      expect(messages.filter(({ type }) => type === 'error').map(({ message }) => message)).toEqual([]);
    }
  }
});

test('a pipeline of one is made, of as much memory as is said', async () => {
  // This driver asks for workgroups of 128 or a multiple, and has little memory for them.
  const plan = { down: 4, across: 1, each: 1, columns: 16 };
  expect(matrixMemoryOf('forward', 24, plan)).toBeLessThanOrEqual(device.limits.maxComputeWorkgroupStorageSize);
  const module = device.createShaderModule({ code: forwardMatrixShader(24, plan) });
  device.pushErrorScope('validation');
  device.createComputePipeline({ layout: 'auto', compute: { module, entryPoint: 'main' } });
  expect((await device.popErrorScope())?.message).toBeUndefined();
});

test('heads that do not fit have no plan', () => {
  expect(matrixPlanFor('forward', 512, 49152)).toBeUndefined();
  expect(matrixPlanFor('forward', 12, 49152)).toBeUndefined();
  expect(matrixPlanFor('dk dv', 160, 16384)).toBeUndefined();
});
