import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { makeHooks } from '../../core/plugin/hooks.js';
// @ts-expect-error: a script without types
import { reference } from './reference.mjs';

test('docs/reference.md is what the code says, and describes every hook', async () => {
  const page = await readFile(new URL('../../docs/reference.md', import.meta.url), 'utf8');
  expect(page, 'run node test/docs/reference.mjs').toBe(reference());
  for (const hook of Object.keys(makeHooks())) expect(page).toMatch(new RegExp(`\\| \`${hook}\` \\| \\w+ \\| .*\\| \\w.{20,} \\|`));
});
