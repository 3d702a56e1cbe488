import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const cli = fileURLToPath(new URL('../../../dist/presets/cli/main.js', import.meta.url));

/** What `node ...args` ends with, and all that it prints. */
const ended = (node: string, args: string[]) =>
  new Promise<{ code: unknown; text: string }>((resolve) =>
    execFile(node, args, (error, out, err) => resolve({ code: error?.code ?? 0, text: out + err })),
  );

test('an older Node is refused at once, in one line', async () => {
  const { engines } = JSON.parse(await readFile(new URL('../../../package.json', import.meta.url), 'utf8'));
  expect(engines.node).toBe('>=20');
  // Loaded before anything else, it makes this Node call itself an older one.
  const older = `data:text/javascript,Object.defineProperty(process.versions, 'node', { value: '18.20.8' })`;
  expect(await ended(process.execPath, ['--import', older, cli, '--version'])).toEqual({
    code: 2,
    text: 'steploom needs Node 20 or later; this is 18.20.8\n',
  });
});

// .ci/run installs one, and says where.
const real = process.env.STEPLOOM_OLDER_NODE ?? '';
if (!existsSync(real)) console.log('not tested here: a real older Node (STEPLOOM_OLDER_NODE names none)');

test.runIf(existsSync(real))('so is a real one, which does not know the words of what is loaded afterwards', async () => {
  const { text: version } = await ended(real, ['--version']);
  expect(Number(/^v(\d+)/.exec(version)?.[1])).toBeLessThan(20);
  expect(await ended(real, [cli, '--version'])).toEqual({
    code: 2,
    text: `steploom needs Node 20 or later; this is ${version.trim().slice(1)}\n`,
  });
});
