import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { ERRORS } from '../../core/index.js';
import { PRESETS } from '../../presets/cli/registry.js';
import { snake } from '../../presets/common/option-facts.js';
import { blocks, pages } from '../support/code-blocks.js';

const root = fileURLToPath(new URL('../..', import.meta.url));

test('every code block says what it is', () => {
  expect(blocks.length).toBeGreaterThan(5);
  for (const { page, language } of blocks) expect(['ts', 'sh', 'text', 'json'], page).toContain(language);
});

test('commands in README and docs exist, with the options they are given', async () => {
  const scripts = Object.keys(JSON.parse(await readFile(join(root, 'package.json'), 'utf8')).scripts);
  for (const { page, code } of blocks.filter((b) => b.language === 'sh'))
    for (const line of code.trim().split('\n'))
      for (const command of line.replace(/\s+#.*/, '').split(' && ')) {
        const [program, ...args] = command.trim().split(/\s+/);
        if (program === 'npm')
          expect(['ci', 'install', 'start', 'test', ...scripts], `${page}: ${command}`).toContain(args[0] === 'run' ? args[1] : args[0]);
        else if (program === 'python') await readFile(join(root, args[0]));
        else {
          // What a launcher runs stands behind launch's --, or behind the launcher's own npx.
          if (program === 'srun') args.splice(0, args.indexOf('steploom') + 1);
          else expect(program, page).toBe('steploom');
          if (args[0] === 'launch') args.splice(0, args.indexOf('--') + 1);
          expect([
            'train',
            'find-lr',
            'find-batch-size',
            'explain',
            'inspect',
            'sample',
            'merge',
            'convert',
            'push',
            'devices',
            'ui',
          ]).toContain(args[0]);
          if (!['train', 'find-lr', 'find-batch-size', 'explain'].includes(args[0])) continue;
          const known = Object.keys(PRESETS[args[1]].options.shape).map((name) => `--${snake(name)}`);
          for (const flag of args.filter((a) => a.startsWith('--') && a !== '--config'))
            expect(known, `${page}: ${command}`).toContain(flag);
        }
      }
});

test('files that README and docs name are there, and so is what they link to', async () => {
  const missing: string[] = [];
  for (const page of pages) {
    const text = await readFile(join(root, page), 'utf8');
    // What stands in others' repositories is theirs.
    const ours = text.replace(/https?:\/\/(?!\S*\/steploom\/)\S+/g, '');
    const named = [...ours.matchAll(/\b(?:core|docs|plugins|presets|test)\/[\w./-]+\.(?:ts|mjs|py|md|sh|json|png)\b/g)].map(
      ([path]) => path,
    );
    const linked = [...text.matchAll(/\]\((?!https?:|#)([^)#]+)/g)].map(([, path]) => join(dirname(page), path));
    for (const path of new Set([...named, ...linked]))
      if (!existsSync(join(root, path)) && !existsSync(join(root, dirname(page), path))) missing.push(`${page}: ${path}`);
  }
  expect(missing).toEqual([]);
});

test('docs/errors.md is the table of codes in core, and every code of it is given somewhere', async () => {
  const page = await readFile(join(root, 'docs/errors.md'), 'utf8');
  const rows = page.split('\n').flatMap((line) => {
    const [, code, when] = /^\| ([A-Z]\w+) +\| (.*?) +\|$/.exec(line) ?? [];
    return code ? [[code, when]] : [];
  });
  expect(Object.fromEntries(rows)).toEqual(ERRORS);
  let sources = '';
  for (const part of ['core', 'plugins', 'presets'])
    for (const file of (await readdir(join(root, part), { recursive: true })).filter(
      (name) => /\.ts$/.test(name) && !/error-codes/.test(name),
    ))
      sources += await readFile(join(root, part, file), 'utf8');
  for (const code of Object.keys(ERRORS)) expect(sources, code).toContain(`'${code}'`);
});
