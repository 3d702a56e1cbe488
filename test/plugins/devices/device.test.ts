import { expect, test } from 'vitest';
import { Trainer } from '../../../core/index.js';
import { type DeviceName, device } from '../../../plugins/devices/device.js';
import { wasm } from '../../../plugins/devices/wasm.js';
import { earlyStopping } from '../../../plugins/observe/early-stopping.js';
import { smallRun } from '../../support/small-run.js';

const problemsOf = async (plugin: ReturnType<typeof device | typeof wasm>): Promise<string[]> => {
  const error = await new Trainer(smallRun().with(plugin, earlyStopping({ patience: 0 }))).train().catch((e) => e);
  return error.problems.map(({ code, plugin: name, what }: { code: string; plugin: string; what: string }) => `${code} ${name}: ${what}`);
};

test('a number of threads that cannot be is told with all other problems, before a device is started', async () => {
  for (const plugin of [wasm({ threads: 0 }), device('wasm', { threads: 0 }), device('auto', { threads: 0 })])
    expect(await problemsOf(plugin)).toEqual(
      expect.arrayContaining(['OPTION_INVALID wasm: threads is 0', 'OPTION_INVALID early-stopping: patience is 0']),
    );
});

test('outside of a run as well', async () => {
  await expect(wasm({ threads: 1.5 }).setUp()).rejects.toThrow('OPTION_INVALID (wasm): threads is 1.5');
});

test('a device that does not exist', async () => {
  expect(await problemsOf(device('tpu' as DeviceName))).toContain('OPTION_INVALID device: the device is tpu');
});
