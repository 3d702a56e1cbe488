import type { Command } from 'commander';
import { z } from 'zod';
import type { Composition } from '../../core/index.js';
import { notice } from '../common/notice.js';
import { count, text } from '../common/options.js';
import { SCRIPT_FLAGS } from '../common/script-flags.js';
import { readConfig } from './config.js';
import { foreignFlags, takeForeignFlags } from './foreign-flags.js';
import { addOptions, checkOptions, faultsIn, flagWithValue, givenOptions } from './options.js';
import { PRESETS, type Preset } from './registry.js';

/** What --most is, of find-batch-size. */
export const MOST = 'The largest that is tried; the number of examples, at most 1,024, by default.';
const CONFIG = 'Options and plugins from a .ts, .js, .json or .yaml file; flags win over it.';
/** Flags of these commands that are no options of a preset: of all, of `train`, and of `find-batch-size`. */
const ownFlags = z.strictObject({
  config: text().optional().describe(CONFIG),
  profile: z.union([z.boolean(), text()]).optional().describe('Give a file, or leave the name out.'),
  most: count().optional().describe(MOST),
});

/** What a preset's command was given: its options with their defaults, and flags that are none of them. */
export interface GivenToPreset {
  readonly command: Command;
  readonly own: z.output<typeof ownFlags>;
  readonly options: Readonly<Record<string, unknown>>;
}

/** Adds a command per preset below `parent`; `act` is given what the options make of the preset. */
export function addPresetCommands(
  parent: Command,
  act: (composition: Composition, given: GivenToPreset) => Promise<void>,
  extra: (command: Command) => void = () => undefined,
): void {
  for (const [name, preset] of Object.entries(PRESETS)) {
    const command = parent.command(name).description(preset.summary);
    command.addOption(flagWithValue('--config <file>', CONFIG));
    addOptions(command, preset.options, preset.scripts ? SCRIPT_FLAGS.works : {});
    takeForeignFlags(command, preset);
    extra(command);
    command.action(async () => {
      const { composition, ...given } = await composed(preset, command);
      await act(composition, { command, ...given });
    });
  }
}

/** A preset with the options of the configuration file and the flags, and the file's plugins. */
async function composed(preset: Preset, command: Command): Promise<{ composition: Composition } & Omit<GivenToPreset, 'command'>> {
  const { profile } = command.opts();
  // It is true, too, where nothing stands behind it.
  const flags: Record<string, unknown> = { ...givenOptions(command, ownFlags), ...(profile === undefined ? {} : { profile }) };
  const own = ownFlags.safeParse(flags).data ?? {};
  // Read though another of these flags is wrong: all that is wrong is said at once.
  const { data: config } = ownFlags.shape.config.safeParse(flags.config);
  const { options, plugins } = config !== undefined ? await readConfig(config) : { options: {}, plugins: [] };
  const { names, problems, notes } = foreignFlags(command, preset, options);
  const ofPreset = Object.entries(options).filter(([name]) => !names.has(name));
  const given = { ...Object.fromEntries(ofPreset), ...givenOptions(command, preset.options) };
  const checked = checkOptions(preset.options, given, [...faultsIn(ownFlags, flags), ...problems]);
  const made = await preset.make(given as never);
  const composition = made.with(...(notes.length > 0 ? [notice(notes, 'foreign-flags')] : []), ...plugins);
  return { composition, own, options: checked };
}
