import { readFile } from 'node:fs/promises';
import { extname, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { type AnyPlugin, fail, messageOf, SteploomError } from '../../core/index.js';
import { decodeText } from '../../plugins/persist/formats/text.js';

/** A configuration file: a preset's options, and a user's plugins, which are added with .with(...). */
export interface Config {
  readonly options: Readonly<Record<string, unknown>>;
  readonly plugins: readonly AnyPlugin[];
}

/** Code is imported from the user's folder, so that it finds what is installed there. */
async function importCode(path: string): Promise<Record<string, unknown>> {
  const { createJiti } = await import('jiti');
  // Its cache stands in a folder that all users of a machine share: what another has put there would run as this user.
  const jiti = createJiti(pathToFileURL(resolve('steploom.config.js')).href, { fsCache: false });
  const module = (await jiti.import(resolve(path))) as Record<string, unknown>;
  return { ...((module.default ?? {}) as object), ...(module.plugins ? { plugins: module.plugins } : {}) };
}

/** Without the mark that some editors put at the beginning. */
async function configText(path: string): Promise<string> {
  const text = decodeText(await readFile(path));
  return text ?? fail('CONFIG_INVALID', 'config', `${path} is neither UTF-8 nor UTF-16 with its mark`, 'Save it as UTF-8.');
}

/** A file of options is small; thousands of anchors take a parser minutes. */
function plainYaml(text: string, bad: (what: string) => never): string {
  if (text.length > 1 << 20) bad('it is larger than 1 MiB');
  if ((text.match(/[&*]/g) ?? []).length > 1000) bad('it has more than 1,000 anchors and aliases');
  return text;
}

/**
 * Reads a .ts, .js, .mjs, .json, .yaml or .yml file. Code may export default options and plugins. Options are named in camel case or
 * as flags are; null stands for an option that is not given. Throws CONFIG_INVALID where there is no such file, or no options in it.
 */
export async function readConfig(path: string): Promise<Config> {
  const bad = (what: string, cause?: unknown): never =>
    fail('CONFIG_INVALID', 'config', `${path}: ${what}`, 'Write an object of options, or export one as default.', cause);
  let value: Record<string, unknown> = {};
  try {
    const type = extname(path);
    if (['.ts', '.mts', '.js', '.mjs', '.cjs'].includes(type)) value = await importCode(path);
    else if (type === '.json') value = JSON.parse(await configText(path));
    else if (type === '.yaml' || type === '.yml') value = (await import('yaml')).parse(plainYaml(await configText(path), bad));
    else bad(`files of type "${type}" cannot be read`);
  } catch (error) {
    if (error instanceof SteploomError) throw error;
    bad((error as NodeJS.ErrnoException).code === 'ENOENT' ? 'there is no such file' : messageOf(error), error);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) bad('it holds no object');
  const { plugins, ...options } = value;
  const made = typeof plugins === 'function' ? plugins() : (plugins ?? []);
  if (!Array.isArray(made)) bad('plugins is no list');
  for (const name of Object.keys(options)) {
    const twin = Object.keys(options).find((other) => other !== name && camel(other) === camel(name));
    if (twin !== undefined) bad(`the option ${camel(name)} is there twice, in two spellings`);
  }
  const given = Object.entries(options).filter(([, option]) => option !== null && option !== undefined);
  return { options: Object.fromEntries(given.map(([name, option]) => [camel(name), option])), plugins: made as AnyPlugin[] };
}

/** Both spellings are understood in files. */
const camel = (name: string): string => name.replace(/[_-]([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
