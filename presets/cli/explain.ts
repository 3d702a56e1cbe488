import type { Command } from 'commander';
import { afterError, printable, Trainer } from '../../core/index.js';
import { addPresetCommands } from './preset-commands.js';

/** `steploom explain <preset>`. */
export function addExplain(program: Command): void {
  addPresetCommands(
    program.command('explain').description('Show what a preset would do: who runs when, and the plan. Trains nothing.'),
    async (composition) => {
      const trainer = new Trainer(composition);
      const { text } = await trainer.explain().catch(async (error) => {
        throw await afterError(error, () => trainer.dispose());
      });
      console.log(printable(text));
      await trainer.dispose();
    },
  );
}
