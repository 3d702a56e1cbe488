import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { ran } from '../../../support/mpi.js';

const main = fileURLToPath(new URL('../../../../dist/presets/cli/main.js', import.meta.url));

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
