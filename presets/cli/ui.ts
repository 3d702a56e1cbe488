import type { Command } from 'commander';
import { z } from 'zod';
import { fail, messageOf } from '../../core/index.js';
import { runsBelow } from '../../plugins/observe/page/runs.js';
import { serveRuns } from '../../plugins/observe/page/server.js';
import { runOptions } from '../common/options.js';
import { addOptions, optionsOf } from './options.js';

const uiOptions = z.strictObject({
  port: runOptions.uiPort,
  host: runOptions.uiHost,
});

/** `steploom ui`: a page with all runs of a folder, until a signal. */
export function addUi(program: Command): void {
  const command = program.command('ui').description('Show the runs below a folder on a page of this machine, side by side.');
  addOptions(command, uiOptions).argument('[folder]', 'A folder of runs, each with a log.jsonl.', 'runs');
  command.action(async (folder: string) => {
    const options = optionsOf(command, uiOptions);
    const runs = runsBelow(folder);
    await runs().catch((error) => fail('FILE_UNREADABLE', 'ui', `${folder}: ${messageOf(error)}`, 'Give a folder of runs.'));
    const { address, close } = await serveRuns({ ...options, runs });
    console.log(address);
    await new Promise<void>((resolve) => {
      process.once('SIGINT', () => resolve());
      process.once('SIGTERM', () => resolve());
    });
    await close();
  });
}
