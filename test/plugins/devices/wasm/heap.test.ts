import { expect, test } from 'vitest';
import { Trainer } from '../../../../core/index.js';
import * as tf from '../../../../core/tf.js';
import { install } from '../../../../plugins/devices/wasm/backend.js';
import { heapError } from '../../../../plugins/devices/wasm/heap.js';
import { wasm } from '../../../../plugins/devices/wasm.js';
import { smallRun } from '../../../support/small-run.js';

test('a tensor that has no place in the heap is refused in words, and the device goes on', async () => {
  const device = await install(1);
  // 4 GiB, whose length cut to 32 bits is 0, and what no heap has besides what is there.
  for (const shape of [[2 ** 30], [2 ** 30 - 2 ** 15]])
    expect(() => device.newTensor(shape)).toThrow(/OUT_OF_MEMORY \(wasm\): a tensor of 409\d MiB has no place in the heap/);
  expect(Array.from(tf.tensor([1, 2]).add(1).dataSync())).toEqual([2, 3]);
});

test('nor one of more than 2 GiB, after others have come and gone', async () => {
  const device = await install(1);
  const held = device.newTensor([2 ** 29]);
  tf.backend().disposeData(held.dataId);
  expect(() => device.newTensor([2 ** 30 - 2 ** 15])).toThrow(/OUT_OF_MEMORY \(wasm\): a tensor of 4096 MiB has no place in the heap/);
});

test('an operation that the module breaks off is out of memory, in words, with what was thrown', () => {
  const trap = new WebAssembly.RuntimeError('memory access out of bounds');
  for (const thrown of [trap, new Error('a tap threw', { cause: trap })]) {
    const error = heapError(thrown);
    expect(error).toMatchObject({ code: 'OUT_OF_MEMORY', cause: thrown });
    expect(error?.message).toContain('no memory in the heap (memory access out of bounds)');
  }
  expect(heapError(new Error('another'))).toBeUndefined();
  expect(heapError('a text')).toBeUndefined();
});

test('a run says it in these words, whoever threw', async () => {
  const plugin = {
    name: 'trap',
    apply: ({ hooks }: { hooks: { onLoss: { tap(fn: () => never): void } } }) =>
      hooks.onLoss.tap(() => {
        throw new WebAssembly.RuntimeError('unreachable');
      }),
  };
  await expect(new Trainer(smallRun({ device: wasm({ threads: 1 }) }).with(plugin as never)).train()).rejects.toMatchObject({
    code: 'OUT_OF_MEMORY',
  });
});
