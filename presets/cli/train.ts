import type { Command } from 'commander';
import { afterError, type Composition, type Plugin, printable, SteploomError, Trainer } from '../../core/index.js';
import { rankFromEnvironment } from '../../plugins/distributed/mpi/environment.js';
import { StatusLine } from '../../plugins/observe/progress/status-line.js';
import { PAGE } from '../../plugins/observe/ui.js';
import { writeAtomically } from '../../plugins/persist/formats/atomic-file.js';
import { FAST_DEV_RUN } from '../common/fast-dev-run.js';
import { INTRODUCTION } from '../common/introduction.js';
import { EXIT } from './exit-codes.js';
import { launchStop } from './launched.js';
import { outcome } from './outcome.js';
import { addPresetCommands, type GivenToPreset } from './preset-commands.js';
import { profileTable, traceOf } from './profile.js';
import { printError } from './report.js';
import { codeOf, stoppable } from './signals.js';

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

/** Above the bar, where there is one. */
function sayAbove(text: string): void {
  if (process.stderr.isTTY) StatusLine.of(process.stderr).print(printable(text));
  else console.warn(printable(text));
}

async function train(composition: Composition, { command }: GivenToPreset): Promise<void> {
  const { profile, debug } = command.optsWithGlobals();
  const trainer = new Trainer(composition, { profile: profile !== undefined, warn: sayAbove });
  const { device, text } = await trainer.explain().catch(async (error) => {
    throw await afterError(error, () => trainer.dispose());
  });
  const isFirstRank = (rankFromEnvironment()?.rank ?? 0) === 0;
  if (isFirstRank) console.error(`training on ${device}`);
  const tells = isFirstRank && (composition.plugins as readonly Plugin[]).some(({ name }) => name === INTRODUCTION);
  const isTrial = (composition.plugins as readonly Plugin[]).some(({ name }) => name === FAST_DEV_RUN);
  for (const plugin of composition.plugins as readonly Plugin[]) if (plugin.fills === PAGE) plugin.describe(text);
  try {
    const say = (error: unknown) => printError(error, { debug });
    const { result, stoppedBy, failed } = await stoppable((signal) => trainer.train({ signal }), say);
    if (tells) for (const line of outcome(result, trainer.stepsMade, isTrial)) console.error(printable(line));
    if (result.profile) console.log(profileTable(result.profile));
    if (typeof profile === 'string' && result.spans) {
      await writeAtomically(profile, traceOf(result.spans, rankFromEnvironment()?.rank ?? 0));
      console.error(`wrote ${profile}`);
    }
    if (failed) process.exitCode = EXIT.failed;
    // A signal that came when all steps were made has kept what comes at the end, the last pictures, from being drawn.
    else if (stoppedBy) process.exitCode = codeOf(stoppedBy);
    // `launch`, which stops its processes without such a signal, ends with the code of its own.
    else if (result.asked && !launchStop.asked) process.exitCode = codeOf('SIGINT');
  } catch (error) {
    printError(error, { debug });
    // What was found before a step was made is the command's fault, as what set-up finds; a plugin that throws is never.
    const atStart = error instanceof SteploomError && error.code !== 'HOOK_THREW' && trainer.stepsMade === 0;
    process.exitCode = atStart ? EXIT.usage : EXIT.failed;
  }
}
