import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** The pages for readers, by their paths. */
export const pages = [
  ...['README.md', 'CONTRIBUTING.md', 'CHANGELOG.md'],
  ...(await readdir(join(root, 'docs'), { recursive: true })).filter((name) => name.endsWith('.md')).map((name) => `docs/${name}`),
];

export interface Block {
  readonly page: string;
  readonly language: string;
  readonly code: string;
}

/** The blocks of code of all pages. */
export const blocks: Block[] = [];
for (const page of pages) {
  const text = await readFile(join(root, page), 'utf8');
  for (const [, language, code] of text.matchAll(/```(\w*)\n([\s\S]*?)```/g)) blocks.push({ page, language, code });
}
