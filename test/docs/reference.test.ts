import { readdir, readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { makeHooks } from '../../core/plugin/hooks.js';
// @ts-expect-error: a script without types
import { reference } from './reference.mjs';

/** The sources below a folder that define a role. */
async function rolesIn(folder: string): Promise<string[]> {
  const place = new URL(`../../${folder}/`, import.meta.url);
  const names = (await readdir(place, { recursive: true })).filter((name) => name.endsWith('.ts'));
  const texts = await Promise.all(names.map((name) => readFile(new URL(name.replaceAll('\\', '/'), place), 'utf8')));
  return texts.flatMap((text) => [...text.matchAll(/defineRole\('(\w+)'/g)].map(([, role]) => role));
}

test('docs/reference.md is what the code says, and describes every hook and role', async () => {
  const page = await readFile(new URL('../../docs/reference.md', import.meta.url), 'utf8');
  expect(page, 'run node test/docs/reference.mjs').toBe(reference());
  for (const hook of Object.keys(makeHooks())) expect(page).toMatch(new RegExp(`\\| \`${hook}\` \\| \\w+ \\| .*\\| \\w.{20,} \\|`));
  const roles = [...(await rolesIn('core')), ...(await rolesIn('plugins'))];
  expect(roles.length).toBeGreaterThan(14);
  for (const role of roles) expect(page.split(`\n### ${role}\n`), role).toHaveLength(2);
});
