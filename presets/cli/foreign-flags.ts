import { type Command, Option } from 'commander';
import type { Problem } from '../../core/index.js';
import { nearest } from '../common/nearest.js';
import { snake } from '../common/option-facts.js';
import { SCRIPT_FLAGS } from '../common/script-flags.js';
import { PRESETS, type Preset } from './registry.js';

/** Flags of diffusers' scripts that are no options of a preset's. */
const otherFlags = ({ options }: Preset): string[] => {
  const own = new Set(Object.keys(options.shape).map(snake));
  return [...Object.keys(SCRIPT_FLAGS.idle), ...Object.keys(SCRIPT_FLAGS.refused)].filter((flag) => !own.has(flag));
};

/** Lets a command take whatever flags there are, so that all that it does not know are named at once; those of diffusers' scripts take values. */
export function takeForeignFlags(command: Command, preset: Preset): void {
  command.allowUnknownOption().allowExcessArguments();
  for (const flag of otherFlags(preset)) command.addOption(new Option(`--${flag} [value...]`).hideHelp());
}

/** What there is to say of flags that are no options of a preset. */
export interface ForeignFlags {
  /** The flags among `options` that are of diffusers' scripts, by their names in code. */
  readonly names: ReadonlySet<string>;
  readonly problems: readonly Problem[];
  /** Of those that are accepted and have no effect. */
  readonly notes: readonly string[];
}

/** Looks at what a command was given that its preset has no options for, and at `options`, which come from its configuration file. */
export function foreignFlags(command: Command, preset: Preset, options: Readonly<Record<string, unknown>>): ForeignFlags {
  const others = new Set(otherFlags(preset));
  const inFile = Object.keys(options).filter((name) => others.has(snake(name)));
  const found = new Set([...inFile.map(snake), ...Object.keys(command.opts()).filter((name) => others.has(name))]);
  const refused = [...found].filter((flag) => flag in SCRIPT_FLAGS.refused);
  return {
    names: new Set(inFile),
    problems: [
      ...unknown(command, preset),
      ...refused.map((flag): Problem => {
        const { why, use } = SCRIPT_FLAGS.refused[flag];
        return { code: 'OPTION_REFUSED', plugin: 'options', what: `--${flag} is not supported: ${why}`, fix: use };
      }),
    ],
    notes: [...found].flatMap((flag) => (flag in SCRIPT_FLAGS.idle ? [`--${flag} has no effect here: ${SCRIPT_FLAGS.idle[flag]}`] : [])),
  };
}

/** Flags that nobody knows, and arguments that no flag stands before. */
function unknown({ args }: Command, preset: Preset): Problem[] {
  const first = args.findIndex((argument) => argument.startsWith('-'));
  const loose = args.slice(0, first < 0 ? args.length : first);
  return [
    ...loose.map(
      (argument): Problem => ({
        code: 'OPTION_UNKNOWN',
        plugin: 'options',
        what: `there is no use for the argument '${argument}'`,
        fix: 'Give options alone, as --seed 1.',
      }),
    ),
    ...args
      .slice(loose.length)
      .filter((argument) => argument.startsWith('-') && Number.isNaN(Number(argument)))
      .map((argument): Problem => {
        const [flag] = argument.split('=');
        return { code: 'OPTION_UNKNOWN', plugin: 'options', what: `unknown option '${flag}'`, fix: instead(flag.slice(2), preset) };
      }),
  ];
}

/** What to do about a flag that a preset does not have. */
function instead(flag: string, preset: Preset): string {
  const having = Object.entries(PRESETS).filter(([, { options }]) =>
    Object.keys(options.shape).some((name) => snake(name) === flag.replaceAll('-', '_')),
  );
  if (having.length > 0) return `It is an option of ${having.map(([name]) => name).join(', ')}.`;
  const known = [...Object.keys(preset.options.shape).map(snake), ...otherFlags(preset), 'config', 'help'];
  const near = nearest(flag.replaceAll('-', '_'), known);
  return near === undefined ? '--help all shows what there is.' : `Did you mean --${near}?`;
}
