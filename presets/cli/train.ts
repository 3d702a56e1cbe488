import { writeFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { type Composition, type Plugin, SteploomError, Trainer } from '../../core/index.js';
import { rankFromEnvironment } from '../../plugins/distributed/mpi/environment.js';
import { PAGE } from '../../plugins/observe/ui.js';
import { EXIT } from './exit-codes.js';
import { addPresetCommands } from './preset-commands.js';
import { profileTable, traceOf } from './profile.js';
import { printError } from './report.js';
import { codeOf, STOP_SIGNAL, stoppable } from './signals.js';

/** `steploom train <preset>`. */
export function addTrain(program: Command): void {
  addPresetCommands(
    program.command('train').description('Train a preset.'),
    train,
    (command) =>
      void command.option(
        '--profile [file]',
        'Print the time spent in each hook by each plugin; into a file every call, for Perfetto or chrome://tracing.',
      ),
  );
}

async function train(composition: Composition, command: Command): Promise<void> {
  const { profile, debug } = command.optsWithGlobals();
  const trainer = new Trainer(composition, { profile: profile !== undefined });
  const { device, text } = await trainer.explain().catch(async (error) => {
    await trainer.dispose();
    throw error;
  });
  if ((rankFromEnvironment()?.rank ?? 0) === 0) console.error(`training on ${device}`);
  for (const plugin of composition.plugins as readonly Plugin[]) if (plugin.fills === PAGE) plugin.describe(text);
  try {
    const { result, stoppedBy } = await stoppable((signal) => trainer.train({ signal }));
    if (result.profile) console.log(profileTable(result.profile));
    if (typeof profile === 'string' && result.spans) {
      await writeFile(profile, traceOf(result.spans, rankFromEnvironment()?.rank ?? 0));
      console.error(`wrote ${profile}`);
    }
    // `launch` knows what it was asked itself, and ends with that signal's code.
    if (result.asked && stoppedBy !== STOP_SIGNAL) process.exitCode = codeOf(stoppedBy ?? 'SIGINT');
  } catch (error) {
    printError(error, { debug });
    // What was found before a step was made is the command's fault, as what set-up finds; a plugin that throws is never.
    const atStart = error instanceof SteploomError && error.code !== 'HOOK_THREW' && trainer.stepsMade === 0;
    process.exitCode = atStart ? EXIT.usage : EXIT.failed;
  }
}
