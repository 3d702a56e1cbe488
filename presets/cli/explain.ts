import type { Command } from 'commander';
import { printable, Trainer } from '../../core/index.js';
import { addPresetCommands } from './preset-commands.js';

/** `steploom explain <preset>`. */
export function addExplain(program: Command): void {
  addPresetCommands(
    program.command('explain').description('Show what a preset would do: who runs when, and the plan. Trains nothing.'),
    async (composition) => {
      const trainer = new Trainer(composition);
      try {
        console.log(printable((await trainer.explain()).text));
      } finally {
        await trainer.dispose();
      }
    },
  );
}
