import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { REFERENCE } from './reference.js';

const root = fileURLToPath(new URL('../..', import.meta.url));

test.each(Object.entries(REFERENCE))('%s is what `npm run reference` writes from the schemas', async (path, make) => {
  expect(await readFile(join(root, path), 'utf8')).toBe(make());
});
