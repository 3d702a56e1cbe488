import { execFileSync } from 'node:child_process';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { FAMILIES } from '../../../../plugins/models/stable-diffusion/families.js';

const rooms = fileURLToPath(new URL('../../../../plugins/models/stable-diffusion/families/', import.meta.url));

test('a family is one file: whoever adds one to the folder finds it in the list', async () => {
  const scratch = await mkdtemp(join(tmpdir(), 'steploom-families-'));
  try {
    const folder = join(scratch, 'families');
    await mkdir(folder);
    await cp(join(rooms, 'list.mjs'), join(folder, 'list.mjs'));
    for (const name of ['second-kind', 'first']) await writeFile(join(folder, `${name}.ts`), '');
    execFileSync(process.execPath, [join(folder, 'list.mjs')]);
    const list = await readFile(join(scratch, 'families.ts'), 'utf8');
    expect(list).toContain("import { family as first } from './families/first.js';");
    expect(list).toContain("import { family as secondKind } from './families/second-kind.js';");
    expect(list).toMatch(/FAMILIES.* = \[first, secondKind\];/);
  } finally {
    await rm(scratch, { recursive: true });
  }
  const files = (await readdir(rooms)).filter((name) => name.endsWith('.ts'));
  expect(FAMILIES).toHaveLength(files.length);
});
