import type { z } from 'zod';
import { type Problem, SteploomError } from '../../core/index.js';
import { nearest } from './nearest.js';
import { type OptionFacts, optionFacts } from './option-facts.js';

/** How options are written where they come from, for messages. */
export interface Spelling {
  /** An option by its name in code. */
  option(name: string): string;
  /** A name that is no option's, as it was found. */
  unknown(name: string): string;
  /** What to do where one is missing. */
  give(name: string): string;
}

/** What stands where a flag was given without the value that it needs: no option takes it. */
export const NO_VALUE = Symbol('no value');

const IN_CODE: Spelling = { option: (name) => name, unknown: (name) => name, give: (name) => `Give ${name}.` };

const WANTED = {
  whole: 'a whole number',
  number: 'a number',
  boolean: 'true or false',
  text: 'a text',
  choice: 'a name',
  names: 'a list of names',
  texts: 'a text or a list of texts',
} as const;

/** Whether an empty text was given where there must be something, also as one of several. */
const isEmptyText = (issue: z.core.$ZodIssue): boolean =>
  (issue.code === 'too_small' && issue.origin === 'string') || (issue.code === 'invalid_union' && issue.errors.flat().some(isEmptyText));

/** The choice that somebody may have meant. */
const choiceMeant = ({ choices = [] }: OptionFacts, value: unknown): string | undefined =>
  typeof value === 'string' ? nearest(value, choices) : undefined;

/** What is wrong with a value, in a few words. */
function fault({ kind, choices }: OptionFacts, issue: z.core.$ZodIssue): string {
  if (isEmptyText(issue)) return 'expected a text that is not empty';
  if (issue.code === 'invalid_value' && choices) return `expected one of ${choices.join(', ')}`;
  if (issue.code === 'invalid_type' || issue.code === 'invalid_union') return `expected ${WANTED[kind]}`;
  if (issue.code === 'too_small') return `expected ${issue.inclusive ? 'at least' : 'more than'} ${issue.minimum}`;
  if (issue.code === 'too_big') return `expected ${issue.inclusive ? 'at most' : 'less than'} ${issue.maximum}`;
  return issue.message;
}

/** What may have been meant by names that no option has. */
function meant(unknown: readonly string[], names: readonly string[]): string {
  const near = unknown.flatMap((name) => nearest(name, names) ?? []);
  return near.length > 0 ? `Did you mean ${near.join(', ')}?` : 'docs/options.md lists them, as does --help all.';
}

/** Faults in the order of the options, those of none at the end. */
function inOrder(issues: readonly z.core.$ZodIssue[], names: readonly string[]): z.core.$ZodIssue[] {
  const place = ({ path: [name] }: z.core.$ZodIssue) => (name === undefined ? names.length : names.indexOf(String(name)));
  return [...issues].sort((a, b) => place(a) - place(b));
}

/** What is wrong with options by a schema, in the order of its options: the problems that parseOptions throws. */
export function faultsOf(owner: string, schema: z.ZodObject, options: object, spelling = IN_CODE): Problem[] {
  const issues = schema.safeParse(options).error?.issues ?? [];
  const facts = new Map(optionFacts(schema).map((option) => [option.name, option]));
  return inOrder(issues, [...facts.keys()]).map((issue): Problem => {
    if (issue.code === 'unrecognized_keys')
      return {
        code: 'OPTION_UNKNOWN',
        plugin: owner,
        what: `there is no option ${issue.keys.map(spelling.unknown).join(', ')}`,
        fix: meant(issue.keys, [...facts.keys()]),
      };
    const name = String(issue.path[0]);
    const option = facts.get(name) as OptionFacts;
    const value = (options as Readonly<Record<string, unknown>>)[name];
    if (value === undefined)
      return { code: 'OPTION_MISSING', plugin: owner, what: `${spelling.option(name)} is missing`, fix: spelling.give(name) };
    const given = value === NO_VALUE ? 'has no value' : `is ${JSON.stringify(value)}`;
    const near = choiceMeant(option, value);
    return {
      code: 'OPTION_INVALID',
      plugin: owner,
      what: `${spelling.option(name)} ${given}: ${fault(option, issue)}`,
      fix: near === undefined ? option.description : `Did you mean ${near}? ${option.description}`,
    };
  });
}

/**
 * Options checked against a preset's schema, with its defaults. Throws one error that names everything that is missing
 * (OPTION_MISSING), unknown (OPTION_UNKNOWN) or not as it must be (OPTION_INVALID), in the spelling given; before it what was `found` already.
 */
export function parseOptions<S extends z.ZodObject>(
  owner: string,
  schema: S,
  options: object = {},
  spelling = IN_CODE,
  found: readonly Problem[] = [],
): z.output<S> {
  const parsed = schema.safeParse(options);
  if (parsed.success && found.length === 0) return parsed.data;
  throw new SteploomError([...found, ...faultsOf(owner, schema, options, spelling)]);
}
