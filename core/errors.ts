import type { ErrorCode } from './error-codes.js';

/** One thing that is wrong with a configuration: a code of docs/errors.md, whose plugin, what it is and how to mend it. */
export interface Problem {
  readonly code: ErrorCode;
  readonly plugin: string;
  readonly what: string;
  readonly fix: string;
}

/** A problem as one line. */
export const problemText = ({ code, plugin, what, fix }: Problem): string => `${code} (${plugin}): ${what}. ${fix}`;

/** Every error steploom throws on purpose. `code` is one of docs/errors.md; `problems` holds all that were found at once. */
export class SteploomError extends Error {
  readonly code: ErrorCode;
  readonly plugin: string;
  readonly problems: readonly Problem[];
  readonly hook?: string;
  /** True where all ranks know of it and end by themselves, each with an error of its own. */
  readonly everyRank: boolean;
  /** What went wrong afterwards, while the run was being ended: the first error is the one that is thrown. */
  readonly later: unknown[] = [];

  constructor(problems: Problem | readonly Problem[], more: { hook?: string; cause?: unknown; everyRank?: boolean } = {}) {
    const list = Array.isArray(problems) ? (problems as readonly Problem[]) : [problems as Problem];
    super(list.length === 1 ? problemText(list[0]) : `${list.length} problems:\n${list.map((p) => `  ${problemText(p)}`).join('\n')}`, {
      cause: more.cause,
    });
    this.name = 'SteploomError';
    this.code = list[0].code;
    this.plugin = list[0].plugin;
    this.problems = list;
    this.hook = more.hook;
    this.everyRank = more.everyRank ?? false;
  }
}

/** Throws one coded error. */
export function fail(code: ErrorCode, plugin: string, what: string, fix: string, cause?: unknown): never {
  throw new SteploomError({ code, plugin, what, fix }, { cause });
}

/** The first of many names, and how many there are. */
export const abridged = (names: readonly string[], most = 3): string =>
  `${names.slice(0, most).join(', ')}${names.length > most ? `, ... (${names.length})` : ''}`;

/** The text of whatever was thrown. */
export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/**
 * Notes an error that came after another, on that other one: as `later`, which an error of ours has and any other object is given. What cannot
 * be given it (a text, a frozen object, one with another `later`) becomes the cause of an error that can.
 * Returns what is to be thrown: the first, or the error that it is the cause of. Never throws.
 */
export function attachLater(first: unknown, second: unknown): unknown {
  if (first === second) return first;
  if (typeof first === 'object' && first !== null) {
    const { later } = first as { later?: unknown };
    if (Array.isArray(later) && Object.isExtensible(later)) {
      later.push(second);
      return first;
    }
    if (later === undefined && Reflect.defineProperty(first, 'later', { value: [second], configurable: true })) return first;
  }
  return attachLater(new Error(messageOf(first), { cause: first }), second);
}

/** Does what is left to do after an error; returns that error, with what goes wrong meanwhile attached to it. */
export async function afterError(error: unknown, work: () => unknown): Promise<unknown> {
  try {
    await work();
    return error;
  } catch (second) {
    return attachLater(error, second);
  }
}

/** Problems found while a configuration is looked at; all are reported together (see {@link SteploomError.problems}). */
export class Problems {
  readonly list: Problem[] = [];
  readonly warnings: Problem[] = [];

  /** Notes what must be mended before training can start. What two of a plugin find, that of training and that of evaluation, stands there once. */
  add(code: ErrorCode, plugin: string, what: string, fix: string): void {
    if (this.list.some((known) => known.code === code && known.plugin === plugin && known.what === what)) return;
    this.list.push({ code, plugin, what, fix });
  }

  /** Notes what will run, but probably not as meant. */
  warn(code: ErrorCode, plugin: string, what: string, fix: string): void {
    this.warnings.push({ code, plugin, what, fix });
  }

  /** Takes over a thrown error: one of ours as the problems it holds, another under `code`. */
  catch(error: unknown, code: ErrorCode, plugin: string, fix: string): void {
    if (error instanceof SteploomError) this.list.push(...error.problems);
    else this.add(code, plugin, messageOf(error), fix);
  }

  /** Checks of one plugin's options. */
  options(plugin: string, code: ErrorCode = 'OPTION_INVALID'): OptionChecks {
    return new OptionChecks(this, plugin, code);
  }
}

/** Checks of a plugin's options: each adds OPTION_INVALID, or another code, where a value is not what it must be, and says whether it was. */
export class OptionChecks {
  constructor(
    private readonly problems: Problems,
    private readonly plugin: string,
    private readonly code: ErrorCode,
  ) {}

  /** Adds a problem in words of one's own. */
  invalid(what: string, fix: string): false {
    this.problems.add(this.code, this.plugin, what, fix);
    return false;
  }

  /** A whole number of at least `least`; `note` says what special values mean. */
  whole(name: string, value: number, least: number, note = ''): boolean {
    return (
      (Number.isSafeInteger(value) && value >= least) ||
      this.invalid(`${name} is ${value}`, `Give a whole number, at least ${least}${note && `, ${note}`}.`)
    );
  }

  /** A whole number from `least` to `most`. */
  wholeWithin(name: string, value: number, least: number, most: number): boolean {
    return (
      (Number.isSafeInteger(value) && value >= least && value <= most) ||
      this.invalid(`${name} is ${value}`, `Give a whole number from ${least} to ${most}.`)
    );
  }

  /** A finite number above 0. */
  positive(name: string, value: number): boolean {
    return (value > 0 && Number.isFinite(value)) || this.invalid(`${name} is ${value}`, 'Give a number above 0.');
  }

  /** A finite number of at least 0. */
  notNegative(name: string, value: number): boolean {
    return (value >= 0 && Number.isFinite(value)) || this.invalid(`${name} is ${value}`, 'Give a number of at least 0.');
  }

  /** A number from 0 up to, not including, 1: a probability, or the constant of a running mean. */
  share(name: string, value: number): boolean {
    return (value >= 0 && value < 1) || this.invalid(`${name} is ${value}`, 'Give a number from 0 up to, not including, 1.');
  }

  /** One of a list of names. */
  oneOf<T extends string>(name: string, value: T, names: readonly T[]): boolean {
    return names.includes(value) || this.invalid(`${name} is ${value}`, `Give one of ${names.join(', ')}.`);
  }
}

/** Throws what a check of options finds: where they are used outside of a run, whose validate nobody taps. */
export function refuseInvalid(check: (problems: Problems) => void): void {
  const problems = new Problems();
  check(problems);
  if (problems.list.length > 0) throw new SteploomError(problems.list);
}

/** A text as it can be printed: what would move a terminal's cursor, colour it or turn its letters round, as its number. Line ends and tabs stay. */
export const printable = (text: string): string =>
  // A joiner holds emoji together.
  text.replace(/(?![\n\t\u200d])[\p{Cc}\p{Cf}]/gu, (letter) => `\\u${(letter.codePointAt(0) as number).toString(16).padStart(4, '0')}`);
