// Writes what follows from the presets' schemas: the option types that are published, and the reference of all options.
//   npm run reference
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { PRESETS } from '../../presets/cli/registry.js';
import { type OptionFacts, optionFacts, snake } from '../../presets/common/option-facts.js';
import { SCRIPT_FLAGS } from '../../presets/common/script-flags.js';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** The names of a preset in code. */
const camel = (name: string) => name.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase());
const typeName = (preset: string) => `${camel(preset).replace(/^./, (letter) => letter.toUpperCase())}Options`;

const literals = (choices: readonly string[]) => choices.map((choice) => `'${choice}'`).join(' | ');

function typeOf({ kind, choices }: OptionFacts): string {
  switch (kind) {
    case 'whole':
    case 'number':
      return 'number';
    case 'boolean':
      return 'boolean';
    case 'choice':
      return literals(choices ?? []);
    case 'names':
      return choices ? `readonly (${literals(choices)})[]` : 'readonly string[]';
    case 'texts':
      return 'string | readonly string[]';
    default:
      return 'string';
  }
}

const defaultOf = ({ fallback }: OptionFacts): string | null =>
  fallback === undefined ? null : Array.isArray(fallback) ? (fallback.length === 0 ? 'none' : fallback.join(', ')) : String(fallback);

/** Lines of a doc comment, broken so that they are read without scrolling. */
function comment(text: string): string {
  if (text.length < 120) return `  /** ${text} */`;
  const lines = [''];
  for (const word of text.split(' ')) {
    if ((lines.at(-1) as string).length + word.length > 120) lines.push('');
    lines[lines.length - 1] = `${lines.at(-1)} ${word}`;
  }
  return ['  /**', ...lines.map((line) => `   *${line}`), '   */'].join('\n');
}

/** presets/common/option-types/<preset>.ts: the preset's options as an interface. */
function optionTypes(preset: string): string {
  const { options, summary } = PRESETS[preset];
  const text = ['// Written by `npm run reference` from the schema of the preset.', ''];
  text.push(`/** Options of ${camel(preset)}. ${summary} */`, `export interface ${typeName(preset)} {`);
  for (const option of optionFacts(options)) {
    const fallback = defaultOf(option);
    text.push(comment(`${option.description}${fallback === null ? '' : ` Default: ${fallback}.`}`));
    text.push(`  readonly ${option.name}${option.required ? '' : '?'}: ${typeOf(option)}${option.required ? '' : ' | undefined'};`);
  }
  text.push('}', '');
  const biome = join(root, 'node_modules', '.bin', 'biome');
  return execFileSync(biome, ['format', '--stdin-file-path=options.ts'], { cwd: root, input: text.join('\n'), encoding: 'utf8' });
}

const KINDS: Readonly<Record<OptionFacts['kind'], string>> = {
  whole: 'whole number',
  number: 'number',
  boolean: 'true or false',
  text: 'text',
  choice: 'name',
  names: 'names',
  texts: 'texts',
};

/** The cells of a table, padded so that its columns stand below one another. */
function table(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  const line = (row: readonly string[]) => `| ${row.map((cell, column) => cell.padEnd(widths[column])).join(' | ')} |`;
  return [line(rows[0]), line(widths.map((width) => '-'.repeat(width))), ...rows.slice(1).map(line)];
}

/** Presets whose options are objects of code: their files, their interfaces and what they are for. */
const IN_CODE = [
  ['lora-in-memory', 'LoraInMemoryOptions', 'LoRA on images in memory; runs in browsers.'],
  ['supervised', 'SupervisedPresetOptions', 'Any TensorFlow.js model, whole or with LoRA; runs in browsers.'],
] as const;

/** The members of an interface, with their doc comments. */
function members(file: string, name: string): { base: string[]; rows: string[][] } {
  const source = ts.createSourceFile(file, readFileSync(join(root, file), 'utf8'), ts.ScriptTarget.Latest, true);
  const found = source.statements.find(
    (statement): statement is ts.InterfaceDeclaration => ts.isInterfaceDeclaration(statement) && statement.name.text === name,
  );
  if (!found) throw new Error(`${file} has no interface ${name}`);
  const escaped = (text: string) => text.replace(/\s+/g, ' ').replaceAll('|', '\\|');
  return {
    base: (found.heritageClauses ?? []).flatMap(({ types }) => types.map((type) => type.getText())),
    rows: found.members.filter(ts.isPropertySignature).map((member) => [
      `\`${member.name.getText()}\``,
      `\`${escaped(member.type?.getText() ?? '')}\``,
      member.questionToken ? '' : 'required',
      escaped(
        ts
          .getJSDocCommentsAndTags(member)
          .flatMap(({ comment: text }) => ts.getTextOfJSDocComment(text) ?? [])
          .join(' '),
      ),
    ]),
  };
}

/** docs/options.md: every option of every preset. */
function optionsPage(): string {
  const text = [
    '# Options of the presets',
    '',
    'Written by `npm run reference` from the schemas in `presets/`. In code and in a configuration file an option has its name in camel case',
    '(a file may use the flag’s spelling as well). A flag may be written with dashes. A switch alone means true, names are given with commas',
    'between, and texts one after another: `--validation_prompt ghost "a red heart"`. An option without a default that is not required is',
    'left out. `steploom train <preset> --help` shows the same.',
  ];
  for (const [preset, { options, summary }] of Object.entries(PRESETS)) {
    text.push('', `## ${preset}`, '', `${summary} In code: \`${camel(preset)}\`.`, '');
    text.push(
      ...table([
        ['flag', 'in code', 'type', 'default', 'what it does'],
        ...optionFacts(options).map((option) => [
          `\`--${snake(option.name)}\``,
          `\`${option.name}\``,
          KINDS[option.kind],
          option.required ? 'required' : (defaultOf(option) ?? ''),
          `${option.description.replaceAll('*', '\\*')}${option.choices ? ` One of: ${option.choices.join(', ')}.` : ''}`,
        ]),
      ]),
    );
  }
  for (const [preset, type, summary] of IN_CODE) {
    const { base, rows } = members(`presets/${preset}.ts`, type);
    const more =
      base.length > 0 ? ` What ${base.map((name) => `\`${name}\``).join(', ')} has (the objective’s options) is taken as well.` : '';
    text.push('', `## ${camel(preset)}`, '', `${summary} In code alone: \`${type}\`.${more}`, '');
    text.push(...table([['in code', 'type', '', 'what it does'], ...rows]));
  }
  return `${text.join('\n')}\n`;
}

/** docs/script-flags.md: what becomes of every flag of the scripts that presets stand for. */
function scriptFlagsPage(): string {
  const { diffusers, scripts } = JSON.parse(readFileSync(join(root, 'test/fixtures/script-flags.json'), 'utf8'));
  const standing = Object.entries(PRESETS).filter(([, preset]) => preset.scripts);
  const { works, idle, refused } = SCRIPT_FLAGS;
  const has = (flag: string) => standing.filter(([, { options }]) => Object.keys(options.shape).some((name) => snake(name) === flag));
  return [
    '# Commands of diffusers’ scripts',
    '',
    'Written by `npm run reference` from the list in `presets/common/script-flags.ts`, which a test holds against the scripts of diffusers',
    `${diffusers}. Every flag of ${Object.keys(scripts)
      .map((script) => `\`${script}\``)
      .join(', ')} is known under its name, on`,
    'the command line and in a configuration file. All that are refused or unknown are named at once.',
    '',
    ...standing.map(
      ([name, { scripts: stoodFor = [] }]) =>
        `- \`${name}\` takes the commands of ${stoodFor.map((script) => `\`${script}\``).join(' and ')}.`,
    ),
    '',
    '## Works',
    '',
    'Defaults are the scripts’; where they differ, the last column has theirs. docs/options.md has ours.',
    '',
    ...table([
      ['flag', 'preset', 'default of the scripts, where ours differs'],
      ...Object.entries(works).map(([flag, theirs]) => [
        `\`--${flag}\``,
        has(flag)
          .map(([name]) => name)
          .join(', '),
        theirs,
      ]),
    ]),
    '',
    '## Accepted, without an effect',
    '',
    'Said once, when training starts.',
    '',
    ...table([['flag', 'why'], ...Object.entries(idle).map(([flag, why]) => [`\`--${flag}\``, why])]),
    '',
    '## Refused',
    '',
    ...table([['flag', 'why', 'what to do'], ...Object.entries(refused).map(([flag, { why, use }]) => [`\`--${flag}\``, why, use])]),
    '',
  ].join('\n');
}

/** The files and what belongs into each, by their paths in the repository. */
export const REFERENCE: Readonly<Record<string, () => string>> = {
  ...Object.fromEntries(Object.keys(PRESETS).map((preset) => [`presets/common/option-types/${preset}.ts`, () => optionTypes(preset)])),
  'docs/options.md': optionsPage,
  'docs/script-flags.md': scriptFlagsPage,
};

if (process.argv[1] === fileURLToPath(import.meta.url))
  for (const [path, make] of Object.entries(REFERENCE)) writeFileSync(join(root, path), make());
