import { readdir, readFile } from 'node:fs/promises';
import { join, normalize } from 'node:path/posix';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import facts from '../package.json' with { type: 'json' };

/**
 * The order in which rooms may know each other: a file imports from its own room and from the rooms of rows above its own. Rooms of
 * one row do not know each other. (biome's noImportCycles holds the files of a room apart; this table is what it cannot express.)
 */
const ROWS = [
  ['core'],
  ['plugins/devices/compute'],
  ['plugins/devices'],
  ['plugins/persist/formats'],
  ['plugins/models'],
  [
    'plugins/adapters',
    'plugins/objectives',
    'plugins/samplers',
    'plugins/data',
    'plugins/optimizers',
    'plugins/schedules',
    'plugins/gradients',
    'plugins/weights',
    'plugins/distributed',
  ],
  ['plugins/persist'],
  ['plugins/observe'],
  ['plugins/index.browser.ts'],
  ['plugins/index.ts'],
  ['presets'],
  ['presets/cli'],
];

const ROOMS = ROWS.flatMap((rooms, row) => rooms.map((room) => ({ room, row })));

/** The innermost room that a file lies in. */
const roomOf = (file: string) =>
  ROOMS.filter(({ room }) => file === room || file.startsWith(`${room}/`)).sort((a, b) => b.room.length - a.room.length)[0];

const root = fileURLToPath(new URL('..', import.meta.url));

async function importsOf(file: string): Promise<string[]> {
  const text = await readFile(join(root, file), 'utf8');
  const specifiers = [...text.matchAll(/\b(?:from|import)\s*\(?\s*'((?:\.{1,2}\/|#)[^']+)'/g)].map(([, specifier]) => specifier);
  // Names of the package's own, behind which browsers find another file, are files of dist/.
  const named = (name: string) => facts.imports[name as keyof typeof facts.imports].default.replace(/^\.\/dist\//, '');
  return specifiers.map((specifier) =>
    (specifier.startsWith('#') ? named(specifier) : normalize(join(file, '..', specifier))).replace(/\.js$/, '.ts'),
  );
}

test('imports go one way', async () => {
  const files = (
    await Promise.all(
      ['core', 'plugins', 'presets'].map(async (folder) =>
        (await readdir(join(root, folder), { recursive: true })).map((name) => `${folder}/${name.replaceAll('\\', '/')}`),
      ),
    )
  )
    .flat()
    .filter((name) => name.endsWith('.ts') && !name.includes('/assembly/'));
  expect(files.length).toBeGreaterThan(100);
  expect(files.filter((file) => !roomOf(file))).toEqual([]);
  const wrong: string[] = [];
  for (const file of files)
    for (const imported of await importsOf(file)) {
      const [from, to] = [roomOf(file), roomOf(imported)];
      if (!(to && (from.room === to.room || to.row < from.row))) wrong.push(`${file} imports ${imported}`);
    }
  expect(wrong).toEqual([]);
});

test('TensorFlow.js is imported through core/tf.ts, and its backends by their devices', async () => {
  const found: string[] = [];
  for (const room of ['core', 'plugins', 'presets'])
    for (const name of (await readdir(join(root, room), { recursive: true })).filter((path) => path.endsWith('.ts')))
      for (const [, path] of (await readFile(join(root, room, name), 'utf8')).matchAll(/(?:from |import |import\()'(@tensorflow\/[^']+)'/g))
        found.push(`${room}/${name}: ${path}`);
  expect(found.filter((path) => !path.startsWith('core/tf.ts: ')).sort()).toEqual([
    'plugins/devices/wasm/backend.ts: @tensorflow/tfjs-backend-wasm',
    'plugins/devices/webgpu/backend.ts: @tensorflow/tfjs-backend-webgpu',
  ]);
});
