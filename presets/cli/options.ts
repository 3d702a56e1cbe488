import { readFile } from 'node:fs/promises';
import { extname, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { type Command, Option } from 'commander';
import type { z } from 'zod';
import { type AnyPlugin, fail, type Problem, SteploomError } from '../../core/index.js';
import { snake } from '../common/options.js';

interface ZodNode {
  readonly def: {
    readonly type: string;
    readonly innerType?: ZodNode;
    readonly defaultValue?: unknown;
    readonly options?: readonly ZodNode[];
    readonly entries?: Record<string, string>;
  };
  readonly description?: string;
}

/** What the command line needs to know of one option of a schema. */
function inspect(node: ZodNode) {
  let fallback: unknown;
  let required = true;
  let inner = node;
  while (inner.def.innerType) {
    if (inner.def.type === 'default') fallback = inner.def.defaultValue;
    if (inner.def.type === 'default' || inner.def.type === 'optional') required = false;
    inner = inner.def.innerType;
  }
  const kinds = (inner.def.options ?? []).map((option) => option.def.type);
  return {
    fallback,
    required,
    isFlag: kinds.includes('boolean'),
    isList: kinds.includes('array') && kinds.includes('string'),
    choices: inner.def.type === 'enum' ? Object.values(inner.def.entries ?? {}) : undefined,
  };
}

/** Adds a schema's options to a command, as --learning_rate and the like. Dashes are turned into underscores before. */
export function addOptions(command: Command, schema: z.ZodObject): void {
  for (const [name, node] of Object.entries(schema.shape as unknown as Record<string, ZodNode>)) {
    const { fallback, required, isFlag, isList, choices } = inspect(node);
    const value = isFlag ? ' [true|false]' : isList ? ' <value...>' : ' <value>';
    const notes = [
      choices ? `one of ${choices.join(', ')}` : '',
      fallback === undefined || (Array.isArray(fallback) && fallback.length === 0)
        ? ''
        : `default ${Array.isArray(fallback) ? fallback.join(',') : fallback}`,
      required ? 'required' : '',
    ].filter(Boolean);
    command.addOption(
      new Option(`--${snake(name)}${value}`, `${node.description ?? ''}${notes.length > 0 ? ` (${notes.join('; ')})` : ''}`),
    );
  }
}

/** What was given on the command line, in the schema's spelling. */
export function givenOptions(command: Command, schema: z.ZodObject): Record<string, unknown> {
  const given = command.opts();
  const options: Record<string, unknown> = {};
  for (const name of Object.keys(schema.shape)) if (given[snake(name)] !== undefined) options[name] = given[snake(name)];
  return options;
}

/** Checks options against a preset's schema; every fault is named as the user wrote it. */
export function checkOptions(schema: z.ZodObject, options: Record<string, unknown>): void {
  const parsed = schema.safeParse(options);
  if (parsed.success) return;
  const problems = parsed.error.issues.map((issue): Problem => {
    const name = String(issue.path[0] ?? '');
    const flag = `--${snake(name)}`;
    if (issue.code === 'unrecognized_keys')
      return {
        code: 'OPTION_UNKNOWN',
        plugin: 'options',
        what: `there is no option ${issue.keys.map((key) => `${key} (--${snake(key)})`).join(', ')}`,
        fix: `There are: ${Object.keys(schema.shape).join(', ')}.`,
      };
    if (options[name] === undefined)
      return {
        code: 'OPTION_MISSING',
        plugin: 'options',
        what: `${flag} is missing`,
        fix: `Give ${flag}, or ${name} in the configuration file.`,
      };
    return {
      code: 'OPTION_INVALID',
      plugin: 'options',
      what: `${flag} is ${JSON.stringify(options[name])}: ${issue.message}`,
      fix: 'See --help.',
    };
  });
  throw new SteploomError(problems);
}

/** A configuration file: a preset's options, and plugins of one's own that are added with .with(...). */
export interface Config {
  readonly options: Record<string, unknown>;
  readonly plugins: readonly AnyPlugin[];
}

/** Reads a .ts, .js, .mjs, .json, .yaml or .yml file. Code may export default options and plugins. */
export async function readConfig(path: string): Promise<Config> {
  const bad = (what: string, cause?: unknown): never =>
    fail('CONFIG_INVALID', 'config', `${path}: ${what}`, 'Write an object of options, or export one as default.', cause);
  let value: Record<string, unknown> = {};
  try {
    const type = extname(path);
    if (['.ts', '.mts', '.js', '.mjs', '.cjs'].includes(type)) {
      const { createJiti } = await import('jiti');
      const module = (await createJiti(pathToFileURL(resolve('steploom.config.js')).href).import(resolve(path))) as Record<string, unknown>;
      value = { ...((module.default ?? {}) as object), ...(module.plugins ? { plugins: module.plugins } : {}) };
    } else if (type === '.json') value = JSON.parse(await readFile(path, 'utf8'));
    else if (type === '.yaml' || type === '.yml') value = (await import('yaml')).parse(await readFile(path, 'utf8'));
    else bad(`files of type "${type}" cannot be read`);
  } catch (error) {
    if (error instanceof SteploomError) throw error;
    bad((error as NodeJS.ErrnoException).code === 'ENOENT' ? 'there is no such file' : (error as Error).message, error);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) bad('it holds no object');
  const { plugins = [], ...options } = value;
  const made = typeof plugins === 'function' ? plugins() : plugins;
  if (!Array.isArray(made)) bad('plugins is no list');
  return { options: Object.fromEntries(Object.entries(options).map(([name, v]) => [camel(name), v])), plugins: made as AnyPlugin[] };
}

/** Both spellings are understood in files. */
const camel = (name: string): string => name.replace(/[_-]([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
