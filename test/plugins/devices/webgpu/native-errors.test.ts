import { fileURLToPath, pathToFileURL } from 'node:url';
import { expect, test } from 'vitest';
import { ran } from '../../../support/mpi.js';

const file = (path: string) => fileURLToPath(new URL(`../../../../dist/${path}`, import.meta.url));
const main = file('presets/cli/main.js');

test('what Dawn writes of drivers that it cannot use is seen with --debug alone', async () => {
  // A driver that does not load, and nothing else.
  const env = { VK_DRIVER_FILES: '/dev/null', VK_ICD_FILENAMES: '/dev/null' };
  const [quiet, loud] = await Promise.all(
    [[], ['--debug']].map((flags) => ran(process.execPath, [main, ...flags, 'devices', '--only', 'webgpu'], { env })),
  );
  expect(quiet.output).toContain('no adapter was found');
  expect(quiet.output).not.toContain('Warning');
  expect(loud.output).toMatch(/^Warning: /m);
});

test('while native errors are hidden, what JavaScript says is kept until they are not', async () => {
  const program = `
    import { writeSync } from 'node:fs';
    import { hideErrors } from ${JSON.stringify(pathToFileURL(file('plugins/devices/webgpu/native-errors.js')))};
    const show = hideErrors();
    console.error('said by JavaScript');
    writeSync(2, 'said by a driver');
    show();
    writeSync(2, 'said later');`;
  const { output } = await ran(process.execPath, ['--input-type=module', '--eval', program]);
  expect(output).toBe('said by JavaScript\nsaid later');
});
