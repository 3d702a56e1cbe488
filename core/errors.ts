/** One thing that is wrong with a configuration: a code of docs/errors.md, whose plugin, what it is and how to mend it. */
export interface Problem {
  readonly code: string;
  readonly plugin: string;
  readonly what: string;
  readonly fix: string;
}

const describe = ({ code, plugin, what, fix }: Problem): string => `${code} (${plugin}): ${what}. ${fix}`;

/** Every error steploom throws on purpose. `code` is one of docs/errors.md; `problems` holds all that were found at once. */
export class SteploomError extends Error {
  readonly code: string;
  readonly plugin: string;
  readonly problems: readonly Problem[];
  readonly hook?: string;
  /** True where all ranks know of it and end by themselves, each with an error of its own. */
  readonly everyRank: boolean;

  constructor(problems: Problem | readonly Problem[], more: { hook?: string; cause?: unknown; everyRank?: boolean } = {}) {
    const list = Array.isArray(problems) ? (problems as readonly Problem[]) : [problems as Problem];
    super(list.length === 1 ? describe(list[0]) : `${list.length} problems:\n${list.map((p) => `  ${describe(p)}`).join('\n')}`, {
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
export function fail(code: string, plugin: string, what: string, fix: string, cause?: unknown): never {
  throw new SteploomError({ code, plugin, what, fix }, { cause });
}

/** Problems found while a configuration is looked at; all are reported together (see {@link SteploomError.problems}). */
export class Problems {
  readonly list: Problem[] = [];
  readonly warnings: Problem[] = [];

  /** Notes what must be mended before training can start. */
  add(code: string, plugin: string, what: string, fix: string): void {
    this.list.push({ code, plugin, what, fix });
  }

  /** Notes what will run, but probably not as meant. */
  warn(code: string, plugin: string, what: string, fix: string): void {
    this.warnings.push({ code, plugin, what, fix });
  }

  /** Takes over a thrown error: one of ours as the problems it holds, another under `code`. */
  catch(error: unknown, code: string, plugin: string, fix: string): void {
    if (error instanceof SteploomError) this.list.push(...error.problems);
    else this.add(code, plugin, error instanceof Error ? error.message : String(error), fix);
  }
}
