// Writes ../families.ts, the list of all families: whoever adds a file here needs to touch no other. Run by npm run generate, before each build.
import { readdir, readFile, writeFile } from 'node:fs/promises';

const names = (await readdir(new URL('.', import.meta.url))).filter((name) => name.endsWith('.ts')).map((name) => name.slice(0, -3));
const constant = (name) => name.replace(/-(.)/g, (_, letter) => letter.toUpperCase());
const text = `// Written by families/list.mjs: every file of that folder.

${names
  .sort()
  .map((name) => `import { family as ${constant(name)} } from './families/${name}.js';`)
  .join('\n')}
import type { Family } from './family.js';

/** The families that are known. */
export const FAMILIES: readonly Family[] = [${names.map(constant).join(', ')}];
`;
const target = new URL('../families.ts', import.meta.url);
// Only what is new is written: builds look at times.
if ((await readFile(target, 'utf8').catch(() => '')) !== text) await writeFile(target, text);
