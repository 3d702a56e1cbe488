import { expect, test } from 'vitest';
import { seededRandom } from '../../../../core/index.js';
import { install } from '../../../../plugins/devices/wasm/backend.js';
import type { ModuleKernels } from '../../../../plugins/devices/wasm/module.js';
import { PLAIN, PLAIN_RELAXED, SHARED, SHARED_RELAXED } from '../../../../plugins/devices/wasm/module-binary.js';
import { relativeGap } from '../../../support/devices.js';

/** What the kernels of a build make of the same numbers: a product, and a convolution by both ways. */
function made(base64: string, shared: boolean): Float32Array {
  const memory = new WebAssembly.Memory({ initial: 32, maximum: 65536, shared });
  const numbers = new Float32Array(memory.buffer);
  const kernels = new WebAssembly.Instance(new WebAssembly.Module(Buffer.from(base64, 'base64')), { env: { memory } })
    .exports as unknown as ModuleKernels;
  let next = 1024;
  const room = (count: number) => (next += 4 * count) - 4 * count;
  const filled = (count: number) => {
    const at = room(count);
    seededRandom(3)
      .named('numbers')
      .normals(numbers.subarray(at / 4, at / 4 + count));
    return at;
  };
  const [a, b, packed, thread] = [filled(5 * 7 * 20), filled(9 * 20 * 24), room(9 * 20 * 24), room(1 << 17)];
  const [product, direct, transformed, filters, zeros] = [room(30 * 24), room(35 * 24), room(35 * 24), room(36 * 20 * 24), room(20)];
  kernels.pack(b, packed, 1, 20, 24, 0, 24, 1, 0, 1, 0, 3);
  kernels.product(a, packed, product, 0, 0, 30, 20, 24, 20, 1, 0, 0, 0, 2, thread);
  kernels.pack(b, packed, 9, 20, 24, 480, 24, 1, 0, 1, 0, 3);
  kernels.convolution(a, packed, direct, 0, 0, zeros, 1, 5, 7, 20, 5, 7, 24, 3, 3, 1, 1, 1, 1, 1, 1, 0, 2, thread);
  kernels.winogradFilter(packed, filters, 20, 3, 0, 0, 3, thread);
  kernels.winograd(a, filters, transformed, 0, 0, zeros, 1, 5, 7, 20, 5, 7, 24, 1, 1, 0, 3, 0, 2, thread);
  const [first, second] = [direct, transformed].map((at) => numbers.slice(at / 4, at / 4 + 35 * 24));
  expect(relativeGap(second, first)).toBeLessThan(1e-5);
  return Float32Array.of(...numbers.slice(product / 4, product / 4 + 30 * 24), ...first);
}

test('where an engine lacks relaxed SIMD, the module computes the same but for rounding', async () => {
  // Node 20 compiles what is relaxed with a flag alone, which the device sets for as long as it compiles.
  const { setFlagsFromString } = await import('node:v8');
  const before = WebAssembly.validate(Buffer.from(SHARED_RELAXED, 'base64'));
  (await install(1)).undo();
  expect(WebAssembly.validate(Buffer.from(SHARED_RELAXED, 'base64'))).toBe(before);
  if (!before) setFlagsFromString('--experimental-wasm-relaxed-simd');
  try {
    const expected = made(PLAIN, false);
    for (const [build, shared] of [
      [SHARED, true],
      [PLAIN_RELAXED, false],
      [SHARED_RELAXED, true],
    ] as const)
      expect(relativeGap(made(build, shared), expected)).toBeLessThan(1e-6);
  } finally {
    if (!before) setFlagsFromString('--no-experimental-wasm-relaxed-simd');
  }
});
