import type { Command } from 'commander';
import type { Problem } from '../../core/index.js';
import { nearest } from '../common/nearest.js';

/** Whether what a command is given belongs to another. */
const passesOn = ({ registeredArguments }: Command): boolean => registeredArguments.some(({ variadic }) => variadic);

/** Lets a command take whatever flags and arguments there are, so that all that it does not know are named at once. */
export function takeUnknownFlags(command: Command): void {
  if (!passesOn(command)) command.allowUnknownOption().allowExcessArguments();
}

/** Flags that a command does not have, and arguments that no flag stands before. `instead` knows what to do about some of these flags. */
export function unknownFlags(command: Command, instead: (flag: string) => string | undefined = () => undefined): Problem[] {
  if (passesOn(command)) return [];
  const { args, registeredArguments } = command;
  const first = args.findIndex((argument) => argument.startsWith('-'));
  const end = first < 0 ? args.length : first;
  return [
    ...args.slice(registeredArguments.length, end).map(
      (argument): Problem => ({
        code: 'OPTION_UNKNOWN',
        plugin: 'options',
        what: `there is no use for the argument '${argument}'`,
        fix: 'Give options alone, as --seed 1.',
      }),
    ),
    ...args
      .slice(end)
      .filter((argument) => argument.startsWith('-') && Number.isNaN(Number(argument)))
      .map((argument): Problem => {
        const [flag] = argument.split('=');
        const fix = instead(flag) ?? meant(flag, command);
        return { code: 'OPTION_UNKNOWN', plugin: 'options', what: `unknown option '${flag}'`, fix };
      }),
  ];
}

/** What may have been meant: a value, or a flag of the command or of those above it, also one that help shows only when it is asked for all. */
function meant(flag: string, command: Command): string {
  if (!flag.startsWith('--')) return 'A value that begins with a dash stands behind =, as in --prompt=-x.';
  const known: string[] = ['help'];
  for (let one: Command | null = command; one; one = one.parent) known.push(...one.options.flatMap(({ long }) => long?.slice(2) ?? []));
  const near = nearest(flag.slice(2).replaceAll('-', '_'), known);
  return near === undefined ? '--help all shows what there is.' : `Did you mean --${near}?`;
}
