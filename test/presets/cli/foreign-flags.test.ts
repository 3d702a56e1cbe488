import { Command } from 'commander';
import { expect, test } from 'vitest';
import { foreignFlags, takeForeignFlags } from '../../../presets/cli/foreign-flags.js';
import { addOptions } from '../../../presets/cli/options.js';
import { PRESETS } from '../../../presets/cli/registry.js';
import { takeUnknownFlags } from '../../../presets/cli/unknown-flags.js';

/** What is said of a command's flags, and of the options in its configuration file. */
function found(args: readonly string[], file: Readonly<Record<string, unknown>> = {}) {
  const preset = PRESETS['lora-text-to-image'];
  const command = addOptions(new Command('train').exitOverride(), preset.options);
  takeForeignFlags(command, preset);
  takeUnknownFlags(command);
  command.action(() => undefined).parse(args, { from: 'user' });
  const { names, problems, notes } = foreignFlags(command, preset, file);
  return { names: [...names], notes, problems: problems.map(({ code, what, fix }) => `${code} ${what} ${fix}`), given: command.opts() };
}

test('flags without an effect are taken with their values, wherever they stand, and said once', () => {
  const { notes, problems, given, names } = found(
    ['--allow_tf32', '--local_rank', '-1', '--rank', '8', '--dataloader_num_workers=4', '--train_data_dir', 'x'],
    { allowTf32: true, enableXformersMemoryEfficientAttention: true, seed: 1 },
  );
  expect(problems).toEqual([]);
  expect(notes.map((note) => note.split(' has ')[0]).sort()).toEqual(
    ['allow_tf32', 'dataloader_num_workers', 'enable_xformers_memory_efficient_attention', 'local_rank'].map((flag) => `--${flag}`),
  );
  expect([given.rank, given.train_data_dir]).toEqual(['8', 'x']);
  expect(names).toEqual(['allowTf32', 'enableXformersMemoryEfficientAttention']);
});

test('what is refused says what to use, from a file, too; what nobody knows is named with what is near', () => {
  const { problems } = found(['--debug_loss', '--validation_images', 'x.png', 'y.png', '--learning_rat', '-1e-3', '-z', '--qqq=1'], {
    tokenizerName: 'x',
  });
  expect(problems).toEqual([
    "OPTION_UNKNOWN unknown option '--learning_rat' Did you mean --learning_rate?",
    expect.stringMatching(/^OPTION_UNKNOWN unknown option '-z' .* stands behind =/),
    "OPTION_UNKNOWN unknown option '--qqq' --help all shows what there is.",
    expect.stringMatching(/^OPTION_REFUSED --tokenizer_name is not supported: .* tokenizer\//),
    expect.stringMatching(/^OPTION_REFUSED --debug_loss is not supported/),
    expect.stringMatching(/^OPTION_REFUSED --validation_images is not supported/),
  ]);
});
