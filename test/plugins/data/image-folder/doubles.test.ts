import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { countDoubles } from '../../../../plugins/data/image-folder/doubles.js';

test('files with the bytes of one before are counted, those of its length alone are not', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'steploom-doubles-'));
  try {
    const paths = [];
    for (const [i, text] of ['ab', 'cd', 'ab', 'abc', 'ab', 'cd'].entries()) {
      paths.push(join(folder, `${i}.png`));
      await writeFile(paths[i], text);
    }
    expect(await countDoubles(paths)).toBe(3);
    expect(await countDoubles(paths.slice(0, 2))).toBe(0);
  } finally {
    await rm(folder, { recursive: true });
  }
});
