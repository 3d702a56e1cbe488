import { isAbsolute, join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ErrorCode } from '../../../core/error-codes.js';
import { problemText, type SteploomError } from '../../../core/errors.js';

/** The folders of steploom's code, in dist/ or the sources. */
const steploom = ['core', 'plugins', 'presets'].map((room) => join(fileURLToPath(new URL('../../..', import.meta.url)), room, sep));

/** Where in a stack the user's code stands: the first frame that is not Node's, steploom's or an installed package's. */
export function userFrame(stack: string): string | null {
  for (const line of stack.split('\n')) {
    const [, path, at] = /^\s+at .*?((?:file:\/\/|\/|[A-Za-z]:\\)[^()]*?):(\d+)(?::\d+)?\)?$/.exec(line) ?? [];
    if (!path) continue;
    const file = path.startsWith('file:') ? fileURLToPath(path) : path;
    if (/[\\/]node_modules[\\/]/.test(file) || steploom.some((room) => file.startsWith(room))) continue;
    const near = relative(process.cwd(), file);
    return `${near.startsWith('..') || isAbsolute(near) ? file : near}:${at}`;
  }
  return null;
}

/** Problems that are printed one by one. */
const SHOWN = 20;

/** An error as it is printed: each problem in a line, with a hint where there is one for its code; and the user's line where a plugin threw. */
export function problemLines(error: SteploomError, hints: Partial<Record<ErrorCode, string>> = {}): string[] {
  const shown = error.problems.slice(0, SHOWN);
  const lines = shown.map((problem) => {
    const hint = hints[problem.code];
    return `error ${problemText(problem)}${hint ? ` ${hint}` : ''}`;
  });
  if (error.problems.length > SHOWN) lines.push(`error ... and ${error.problems.length - SHOWN} more problems`);
  const at = error.code === 'HOOK_THREW' && error.cause instanceof Error ? userFrame(error.cause.stack ?? '') : null;
  return at ? [...lines, ` at ${at}`] : lines;
}
