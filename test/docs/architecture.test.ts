import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const root = new URL('../../', import.meta.url);

test('every file and folder that docs/architecture.md names is there', () => {
  const page = readFileSync(new URL('docs/architecture.md', root), 'utf8');
  const full = [...page.matchAll(/\b(?:core|plugins|presets|docs|test)\/[\w./-]*\w/g)].map(([path]) => path);
  // In the table of effects, files of a device's folder.
  const short = [...page.matchAll(/\| *((?:wasm|webgpu|tensorflow)\/[\w.-]+\.ts)/g)].map(([, path]) => `plugins/devices/${path}`);
  expect(full.length).toBeGreaterThan(30);
  expect(short.length).toBeGreaterThan(5);
  const missing = [...full, ...short].filter((path) => !existsSync(fileURLToPath(new URL(path, root))));
  expect(missing).toEqual([]);
});
