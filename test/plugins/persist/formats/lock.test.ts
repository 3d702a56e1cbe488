import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { takeLock } from '../../../../plugins/persist/formats/lock.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'steploom-'));
});
afterEach(() => rm(folder, { recursive: true }));

for (const before of ['no lock', 'a dead one’s lock', 'a lock that was cut off'])
  test(`of several that come at once where there is ${before}, one takes it, and the others are told of it`, async () => {
    const path = join(folder, 'run.lock');
    if (before === 'a dead one’s lock') await writeFile(path, JSON.stringify({ pid: 2 ** 22 + 1, host: hostname(), token: 'dead' }));
    if (before === 'a lock that was cut off') await writeFile(path, '{"pid"');
    const came = await Promise.all(Array.from({ length: 8 }, () => takeLock(path)));
    const taken = came.flatMap((one) => ('release' in one ? [one] : []));
    expect(taken).toHaveLength(1);
    for (const one of came) if ('holder' in one) expect(one.holder).toMatchObject({ pid: process.pid, host: hostname() });
    expect(await readdir(folder)).toEqual(['run.lock']);
    await taken[0].release();
    expect(await readdir(folder)).toEqual([]);
  });

test('a lock that was given up and taken by another is not taken away from that one', async () => {
  const path = join(folder, 'run.lock');
  const taken = await takeLock(path);
  if (!('release' in taken)) throw new Error('it was free');
  const others = JSON.stringify({ pid: 1, host: 'elsewhere', token: 'theirs' });
  await writeFile(path, others);
  await taken.release();
  expect(await readFile(path, 'utf8')).toBe(others);
});
