import { type Command, Option } from 'commander';
import type { z } from 'zod';
import type { Problem } from '../../core/index.js';
import { type OptionFacts, type OptionKind, optionFacts, snake } from '../common/option-facts.js';
import { faultsOf, NO_VALUE, parseOptions, type Spelling } from '../common/parse-options.js';
import { unknownFlags } from './unknown-flags.js';

const ON_THE_COMMAND_LINE: Spelling = {
  option: (name) => `--${snake(name)}`,
  unknown: (name) => `${name} (--${snake(name)})`,
  give: (name) => `Give --${snake(name)}, or ${name} in a configuration file.`,
};

/** Of commands that have no configuration file. */
const THERE_ALONE: Spelling = { ...ON_THE_COMMAND_LINE, give: (name) => `Give --${snake(name)}.` };

/** What stands behind a flag that is true or false. */
export const YES_OR_NO = '[true|false]';

const PLACEHOLDERS: Readonly<Record<OptionKind, string>> = {
  whole: '<number>',
  number: '<number>',
  boolean: YES_OR_NO,
  text: '<text>',
  choice: '<name>',
  names: '<names>',
  texts: '<text...>',
};

/** The line of --help about an option. */
function helpOf({ kind, choices, fallback, required, description }: OptionFacts, inScripts: string): string {
  const shown = Array.isArray(fallback) ? fallback.join(',') : fallback;
  const notes = [
    choices ? `one of ${choices.join(', ')}` : '',
    kind === 'names' ? 'commas between' : '',
    shown === undefined || shown === '' ? '' : `default ${shown}`,
    required ? 'required' : '',
    inScripts && `diffusers: ${inScripts}`,
  ].filter(Boolean);
  return `${description}${notes.length > 0 ? ` (${notes.join('; ')})` : ''}`;
}

/** A flag whose value may be missing: that is said with all else that is wrong, where commander would say it alone. Values that begin with a dash and are no numbers stand behind =. */
export function flagWithValue(flags: string, description: string): Option {
  const option = new Option(flags, description);
  return Object.assign(option, { required: false, optional: true });
}

/**
 * Adds a schema's options to a command, as --learning_rate and the like. `inScripts` are defaults of the scripts that a preset stands for, where they
 * differ.
 */
export function addOptions(command: Command, schema: z.ZodObject, inScripts: Readonly<Record<string, string>> = {}): Command {
  for (const facts of optionFacts(schema)) {
    const help = helpOf(facts, inScripts[snake(facts.name)] ?? '');
    command.addOption(flagWithValue(`--${snake(facts.name)} ${PLACEHOLDERS[facts.kind]}`, help));
  }
  return command;
}

/** The number that a text stands for; null where it stands for none. */
export const asNumber = (text: string): number | null => (/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) ? Number(text) : null);

/** The value that a flag's text stands for; NO_VALUE for true, where there was none. Text that stands for none is left as it is: the schema refuses it, and names the flag. */
export function fromText(kind: OptionKind, text: unknown): unknown {
  if (text === true && kind !== 'boolean') return NO_VALUE;
  if (typeof text !== 'string') return text;
  switch (kind) {
    case 'whole':
    case 'number':
      return asNumber(text) ?? text;
    case 'boolean':
      return text === 'true' || (text === 'false' ? false : text);
    case 'names':
      return text.split(',');
    default:
      return text;
  }
}

/** What was given on the command line, by the options' names in code. */
export function givenOptions(command: Command, schema: z.ZodObject): Record<string, unknown> {
  const given = command.opts();
  const options: Record<string, unknown> = {};
  for (const { name, kind } of optionFacts(schema))
    if (given[snake(name)] !== undefined) options[name] = fromText(kind, given[snake(name)]);
  return options;
}

/**
 * Checks a preset's options, and gives them with its defaults; every fault is named as the user wrote it, after those that were `found` before.
 */
export const checkOptions = <S extends z.ZodObject>(schema: S, options: object, found: readonly Problem[] = []): z.output<S> =>
  parseOptions('options', schema, options, ON_THE_COMMAND_LINE, found);

/** The faults alone. */
export const faultsIn = (schema: z.ZodObject, options: object): Problem[] => faultsOf('options', schema, options, ON_THE_COMMAND_LINE);

/** A command's options, where they come from the command line alone; flags that it does not have are faults, too. */
export const optionsOf = <S extends z.ZodObject>(command: Command, schema: S): z.output<S> =>
  parseOptions('options', schema, givenOptions(command, schema), THERE_ALONE, unknownFlags(command));
