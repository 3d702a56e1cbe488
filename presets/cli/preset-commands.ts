import type { Command } from 'commander';
import { z } from 'zod';
import type { Composition } from '../../core/index.js';
import { notice } from '../common/notice.js';
import { text } from '../common/options.js';
import { SCRIPT_FLAGS } from '../common/script-flags.js';
import { readConfig } from './config.js';
import { foreignFlags, takeForeignFlags } from './foreign-flags.js';
import { addOptions, checkOptions, givenOptions } from './options.js';
import { PRESETS, type Preset } from './registry.js';

const CONFIG = 'Options and plugins from a .ts, .js, .json or .yaml file; flags win over it.';
/** Flags of these commands that are no options of a preset. */
const files = z.strictObject({
  config: text().optional().describe(CONFIG),
  profile: z.union([z.boolean(), text()]).optional().describe('Give a file, or leave the name out.'),
});

/** What a preset's command was given: its options with their defaults, and the command, for flags that are none of them. */
export interface GivenToPreset {
  readonly command: Command;
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
    command.option('--config <file>', CONFIG);
    addOptions(command, preset.options, { inScripts: preset.scripts ? SCRIPT_FLAGS.works : {} });
    takeForeignFlags(command, preset);
    extra(command);
    command.action(async () => {
      const { composition, options } = await composed(preset, command);
      await act(composition, { command, options });
    });
  }
}

/** A preset with the options of the configuration file and the flags, and the file's plugins. */
async function composed(
  preset: Preset,
  command: Command,
): Promise<{ composition: Composition; options: Readonly<Record<string, unknown>> }> {
  const { config, profile } = command.opts();
  checkOptions(files, { config, profile });
  const { options, plugins } = config !== undefined ? await readConfig(config) : { options: {}, plugins: [] };
  const { names, problems, notes } = foreignFlags(command, preset, options);
  const own = Object.entries(options).filter(([name]) => !names.has(name));
  const given = { ...Object.fromEntries(own), ...givenOptions(command, preset.options) };
  const checked = checkOptions(preset.options, given, problems);
  const made = await preset.make(given as never);
  const composition = made.with(...(notes.length > 0 ? [notice(notes, 'foreign-flags')] : []), ...plugins);
  return { composition, options: checked };
}
