import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { blocks } from '../support/code-blocks.js';
import { RESOLUTIONS, typeErrors } from '../support/type-check.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const here = (name: string) => join(root, 'test', 'types', name);
const resolutions = Object.keys(RESOLUTIONS) as (keyof typeof RESOLUTIONS)[];

// Each @ts-expect-error in these files is an error if nothing is wrong there.
test.each(resolutions)('a plugin’s author gets the errors that are expected, in a browser’s project (%s)', async (resolution) => {
  expect(typeErrors([here('plugin-author.ts')], { resolution, browser: true })).toEqual([]);
});

// All in one program, which takes long to be checked. Beside them a file of errors: that they are told, of the settings that are strict too.
test.each(resolutions)(
  'so do users of presets and plugins in Node, README and docs included; options are what schemas take; errors are told (%s)',
  async (resolution) => {
    const scratch = await mkdtemp(join(root, 'test', '.types-'));
    try {
      const written = async (name: string, code: string) => {
        await writeFile(join(scratch, name), code);
        return join(scratch, name);
      };
      const wrong = await written(
        'wrong.ts',
        `import { clipping, csv } from 'steploom/plugins';
     export const text: string = 1;
     // @ts-expect-error nothing is wrong here
     clipping(1);
     csv('runs', { every: undefined });`,
      );
      const inPages = blocks.filter(({ language }) => language === 'ts');
      expect(inPages.length).toBeGreaterThan(5);
      const files = await Promise.all(
        inPages.map(({ page, code }, i) => written(`${page.replace(/\W/g, '-')}-${i}.ts`, `${code}\nexport {};\n`)),
      );
      const errors = typeErrors([wrong, ...['plugin-author.ts', 'presets.ts', 'options.ts'].map(here), ...files], { resolution });
      const isMeant = (error: string) => error.includes('/wrong.ts(');
      expect(errors.filter((error) => !isMeant(error))).toEqual([]);
      expect(errors.filter(isMeant)).toEqual([
        expect.stringContaining('TS2322'),
        expect.stringContaining('TS2578'),
        expect.stringMatching(/exactOptional/),
      ]);
    } finally {
      await rm(scratch, { recursive: true });
    }
  },
);

/** Declarations that can be reached from what package.json's exports name, by their paths. */
function published(): Map<string, string> {
  const { exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { exports: Record<string, string | object | null> };
  const found = new Map<string, string>();
  const visit = (file: string) => {
    if (found.has(file) || !existsSync(file)) return;
    const text = readFileSync(file, 'utf8');
    found.set(file, text);
    for (const [, path] of text.matchAll(/(?:from |import\()['"](\.[^'"]+)\.js['"]/g)) visit(join(dirname(file), `${path}.d.ts`));
  };
  for (const target of Object.values(exports).flatMap((value) => (typeof value === 'object' ? Object.values(value ?? {}) : [value])))
    if (typeof target === 'string' && target.endsWith('.js') && !target.includes('*')) visit(join(root, target.replace(/\.js$/, '.d.ts')));
  return found;
}

test('what is published names no types that a user may not have', () => {
  const { dependencies, peerDependencies, peerDependenciesMeta } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Record<
    'dependencies' | 'peerDependencies' | 'peerDependenciesMeta',
    Record<string, unknown>
  >;
  // Peers that are not optional are there, too.
  const isThere = (name: string) => name in dependencies || (name in peerDependencies && !(name in peerDependenciesMeta));
  const wrong: string[] = [];
  for (const [file, text] of published()) {
    const say = (what: string) => wrong.push(`${relative(root, file)}: ${what}`);
    const code = text.replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, '');
    for (const [name] of code.matchAll(/\bNodeJS\.\w+|\bBuffer\b/g)) say(name);
    for (const [, path] of code.matchAll(/(?:from |import\()['"]([^.#'"][^'"]*)['"]/g))
      if (!isThere(/^@[^/]+\/[^/]+|^[^/]+/.exec(path as string)?.[0] as string)) say(`import of ${path}`);
  }
  expect(wrong).toEqual([]);
});
