import { type Command, Option } from 'commander';
import type { Problem } from '../../core/index.js';
import { snake } from '../common/option-facts.js';
import { SCRIPT_FLAGS } from '../common/script-flags.js';
import { PRESETS, type Preset } from './registry.js';
import { unknownFlags } from './unknown-flags.js';

/** Flags of diffusers' scripts that are no options of a preset's. */
const otherFlags = ({ options }: Preset): string[] => {
  const own = new Set(Object.keys(options.shape).map(snake));
  return [...Object.keys(SCRIPT_FLAGS.idle), ...Object.keys(SCRIPT_FLAGS.refused)].filter((flag) => !own.has(flag));
};

/** Lets a command take the flags of diffusers' scripts that its preset has no options for. They take values. */
export function takeForeignFlags(command: Command, preset: Preset): void {
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
      ...unknownFlags(command, ofOthers),
      ...refused.map((flag): Problem => {
        const { why, use } = SCRIPT_FLAGS.refused[flag];
        return { code: 'OPTION_REFUSED', plugin: 'options', what: `--${flag} is not supported: ${why}`, fix: use };
      }),
    ],
    notes: [...found].flatMap((flag) => (flag in SCRIPT_FLAGS.idle ? [`--${flag} has no effect here: ${SCRIPT_FLAGS.idle[flag]}`] : [])),
  };
}

/** What to do about a flag that other presets have. */
function ofOthers(flag: string): string | undefined {
  const name = flag.slice(2).replaceAll('-', '_');
  const having = Object.entries(PRESETS).filter(([, { options }]) => Object.keys(options.shape).some((option) => snake(option) === name));
  return having.length > 0 ? `It is an option of ${having.map(([preset]) => preset).join(', ')}.` : undefined;
}
