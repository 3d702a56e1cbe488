import type { Command } from 'commander';
import { z } from 'zod';
import { fail, printable } from '../../core/index.js';
import { adaptersIn } from '../../plugins/persist/folders/results.js';
import { pushTarget } from '../../plugins/persist/formats/hub/push.js';
import { pushFolder, repositoryFor, settingsWith, unfit } from '../../plugins/persist/push-to-hub.js';
import { hubOptions } from '../common/options.js';
import { addOptions, optionsOf } from './options.js';

const pushOptions = z.strictObject({ hubModelId: hubOptions.hubModelId, hubToken: hubOptions.hubToken });

/** `steploom push`: sends the adapters of a run that has ended to the hub. */
export function addPush(program: Command): void {
  const command = program.command('push').description('Send the adapters of a run to the Hugging Face hub, with its pictures and a page.');
  addOptions(command, pushOptions).argument('<folder>', 'The folder of the run.');
  command.action(async (folder: string) => {
    const o = optionsOf(command, pushOptions);
    if ((await adaptersIn(folder)).length === 0)
      fail('FILE_MISSING', 'push', `${folder} has no adapters (.safetensors)`, 'Give the folder of a run that has ended.');
    const settings = await settingsWith(o.hubToken);
    const found = unfit(settings);
    if (found) fail('HUB_REFUSED', 'push', found[0], found[1]);
    const target = await pushTarget(o.hubModelId ?? repositoryFor(folder), { settings });
    const count = await pushFolder(folder, target, 'Adapters');
    console.log(printable(`sent ${count} files to ${target.page}`));
  });
}
