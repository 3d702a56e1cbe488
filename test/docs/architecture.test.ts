import { existsSync, readdirSync, readFileSync } from 'node:fs';
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

/** What changes something outside of steploom: listeners, globals, variables of the environment, settings of other packages, the process's end. */
const EFFECTS = [
  /\bprocess\.(?:on|once|addListener|prependListener)\(/,
  /\bstream\.on\(/,
  /\bglobalThis(?:\.\w+|\[\w+\]) *(?:\?\?)?=[^=]/,
  /\boverride(?:<[^(]*>)?\(/,
  /\bset(?:Default|Variable)\(/,
  /\benv(?:\.\w+|\[\w+\]) *(?:\?\?)?=[^=]/,
  /\bprocess\.(?:exitCode *=[^=]|exit\()/,
  /\b(?:env\(\)\.set|setThreadsCount|koffi\.config)\([^)]/,
  /\b(?:engine\.\w+|layer\.(?:call|activation)) = /,
];

test('every global effect is in the table of docs/architecture.md', () => {
  const page = readFileSync(new URL('docs/architecture.md', root), 'utf8');
  const rows = [...page.slice(page.indexOf('## Global effects')).matchAll(/^\|.*\| *(\S.*\.ts)\s*\|$/gm)];
  const named = rows
    .flatMap(([, where]) => where.split(', '))
    .map((path) => (/^(?:core|plugins|presets)\//.test(path) ? path : `plugins/devices/${path}`));
  const files = ['core', 'plugins', 'presets'].flatMap((folder) =>
    readdirSync(new URL(folder, root), { recursive: true }).map((name) => `${folder}/${String(name).replaceAll('\\', '/')}`),
  );
  // undo.ts is what effects are made by.
  const sources = files.filter((file) => file.endsWith('.ts') && !/\/assembly\/|compute\/undo\.ts$/.test(file));
  const withEffects = sources.filter((file) => {
    const text = readFileSync(new URL(file, root), 'utf8');
    return EFFECTS.some((effect) => effect.test(text));
  });
  expect(withEffects.length).toBeGreaterThan(10);
  expect(withEffects.filter((file) => !named.includes(file))).toEqual([]);
});
