import { Command, CommanderError } from 'commander';
import { SteploomError } from '../../core/index.js';
import { packageVersion } from '../common/package-root.js';
import { addConvert } from './convert.js';
import { addDevices } from './devices.js';
import { EXIT } from './exit-codes.js';
import { addExplain } from './explain.js';
import { addFindBatchSize, addFindLearningRate } from './find.js';
import { arrangeHelp, formatItem, takeHelpAll } from './help.js';
import { addInspect } from './inspect.js';
import { addLaunch } from './launch.js';
import { addMerge } from './merge.js';
import { addPush } from './push.js';
import { printError } from './report.js';
import { addSample } from './sample.js';
import { spelling } from './spelling.js';
import { addTrain } from './train.js';
import { addUi } from './ui.js';
import { takeUnknownFlags } from './unknown-flags.js';

/** A command and all below it, each with the words that call it. */
const everyCommand = (command: Command, path = command.name()): { command: Command; path: string }[] => [
  { command, path },
  ...command.commands.flatMap((below) => everyCommand(below, `${path} ${below.name()}`)),
];

/** Does what the arguments say. Errors are printed; the process's exit code tells how it went. */
export async function commandLine(args: readonly string[]): Promise<void> {
  // Commands inherit what is set here.
  const program = new Command('steploom')
    .version(packageVersion())
    .description('Fine-tune models with TensorFlow.js.')
    .option(
      '--debug',
      'Print the whole stack of an error, with those of its causes and of what went wrong afterwards; also what drivers say, and which defaults have no effect.',
    )
    .configureHelp({ showGlobalOptions: true, formatItem })
    .exitOverride()
    .on('option:debug', () => {
      process.env.STEPLOOM_DEBUG = '1';
    });
  const given = [...args];
  const all = takeHelpAll(given);
  for (const add of [
    addTrain,
    addFindLearningRate,
    addFindBatchSize,
    addExplain,
    addInspect,
    addLaunch,
    addSample,
    addMerge,
    addConvert,
    addPush,
    addUi,
    addDevices,
  ])
    add(program);
  const commands = everyCommand(program);
  for (const { command, path } of commands) {
    command.showHelpAfterError(`(${path} --help shows what there is)`);
    arrangeHelp(command, all);
    if (command.commands.length === 0) takeUnknownFlags(command);
  }
  const spelled = spelling(commands.flatMap(({ command }) => command.options));
  try {
    await program.parseAsync(given.map(spelled), { from: 'user' });
  } catch (error) {
    if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : EXIT.usage;
    else {
      printError(error, program.opts());
      process.exitCode = error instanceof SteploomError ? EXIT.usage : EXIT.failed;
    }
  }
}
