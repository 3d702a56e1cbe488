import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const cli = fileURLToPath(new URL('../../../dist/presets/cli/main.js', import.meta.url));

test('an older Node is refused at once, in one line', async () => {
  const { engines } = JSON.parse(await readFile(new URL('../../../package.json', import.meta.url), 'utf8'));
  expect(engines.node).toBe('>=20');
  // Loaded before anything else, it makes this Node call itself an older one.
  const older = `data:text/javascript,Object.defineProperty(process.versions, 'node', { value: '18.20.8' })`;
  const { code, text } = await new Promise<{ code: unknown; text: string }>((resolve) =>
    execFile(process.execPath, ['--import', older, cli, '--version'], (error, out, err) => resolve({ code: error?.code, text: out + err })),
  );
  expect(code).toBe(2);
  expect(text).toBe('steploom needs Node 20 or later; this is 18.20.8\n');
});
