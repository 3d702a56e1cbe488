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
import type { Operand } from '../../../../plugins/devices/webgpu/operands.js';
import { tensorCoreTiles } from '../../../../plugins/devices/webgpu/tensor-core-tiles.js';

// Dawn's driver that computes nothing knows fragments, though no GPU is there: what it says of the shaders. What they compute is checked on a GPU, by
// test/bench/attention.mjs and test/parity/half-kernels.mjs.
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

/** What is wrong with a shader: what the driver says, and variables of the workgroup behind which others do not begin at 16 bytes, where fragments are read. */
async function faultsOf(code: string): Promise<string[]> {
  const { messages } = await device.createShaderModule({ code }).getCompilationInfo();
  const bytes: Record<string, number> = { vec4h: 8, vec4f: 16, vec4u: 16, f32: 4, u32: 4 };
  const variables = [...code.matchAll(/var<workgroup> (\w+): (?:array<(\w+), (\d+)>|(\w+))/g)];
  expect(variables.length).toBeGreaterThan(2);
  const uneven = variables.filter(
    ([, , type, count, single]) => ((bytes[type ?? (single as string)] as number) * Number(count ?? 1)) % 16 > 0,
  );
  return [...messages.flatMap(({ type, message }) => (type === 'error' ? [message] : [])), ...uneven.map(([text]) => text)];
}

const shaders = (kind: MatrixShader, d: number, plan: MatrixPlan): string[] => {
  if (kind === 'forward') return [forwardMatrixShader(d, plan)];
  return kind === 'dq' ? [queryMatrixShader(d, plan)] : [keyMatrixShader(d, plan, false), keyMatrixShader(d, plan, true)];
};
const KINDS = ['forward', 'dq', 'dk dv'] as const;

test.each([8, 40, 64, 80, 160])('the shaders for heads of %i are valid, and fit the memory that a GPU with tensor cores has', async (d) => {
  for (const kind of KINDS) {
    const plan = matrixPlanFor(kind, d, 49152) as MatrixPlan;
    expect(matrixMemoryOf(kind, d, plan)).toBeLessThanOrEqual(49152);
    for (const code of shaders(kind, d, plan)) expect(await faultsOf(code)).toEqual([]);
  }
});

test('the shaders of products are valid, whichever way their operands lie', async () => {
  const operand = (array: string, along: 'outer' | 'inner', half: boolean): Operand => ({
    array,
    along,
    half,
    run: 8,
    index: ({ outer, inner }) => `${outer} * 8u + ${inner}`,
  });
  for (const [rows, columns] of [
    [128, 128],
    [128, 64],
    [32, 64],
  ] as const)
    for (const along of ['outer', 'inner'] as const)
      for (const wide of [true, false])
        for (const whole of [true, false]) {
          const first = { a: operand('a', along, true), b: operand('b', along, true), k: 'k', whole };
          // Single precision has no place beside the sums of the largest tile.
          const second = { a: operand('a1', along, false), b: operand('b1', along, false), k: 'k1', whole: !whole };
          const terms = columns === 128 ? [first] : [first, second];
          const sizes = ['m', 'n', 'slices', 'k', 'k1'];
          expect(await faultsOf(tensorCoreTiles({ terms, sizes, functions: '', wide, rows, columns }))).toEqual([]);
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
