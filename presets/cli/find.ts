import { join } from 'node:path';
import type { Command } from 'commander';
import { afterError, type Composition, type LearningRates, printable, Trainer } from '../../core/index.js';
import { learningRateChart } from '../../plugins/observe/charts/learning-rate-chart.js';
import { preparation } from '../../plugins/observe/progress/preparation.js';
import { StatusLine } from '../../plugins/observe/progress/status-line.js';
import { writeAtomically } from '../../plugins/persist/formats/atomic-file.js';
import { flagWithValue } from './options.js';
import { addPresetCommands, MOST } from './preset-commands.js';

/** Sets a run up, looks for something, and takes it down again: nothing is trained. */
async function withTrainer<T>(composition: Composition, work: (trainer: Trainer) => Promise<T>): Promise<T> {
  const trainer = new Trainer(composition);
  const found = await work(trainer).catch(async (error) => {
    throw await afterError(error, () => trainer.dispose());
  });
  await trainer.dispose();
  return found;
}

const short = (x: number): string => String(Number(x.toPrecision(2)));

/** `steploom find-lr <preset>`. */
export function addFindLearningRate(program: Command): void {
  addPresetCommands(
    program.command('find-lr').description('Suggest a learning rate: try rates from small to large on the first steps. Trains nothing.'),
    async (composition, { options }) => {
      const tell = preparation();
      const found = await withTrainer(composition, (trainer) =>
        trainer.findLearningRate({ onStep: (done, of) => tell(done, of, 'steps tried') }),
      );
      const plot = join(options.outputDir as string, 'learning-rate.png');
      if (process.stderr.isTTY) StatusLine.of(process.stderr).leave();
      await writeAtomically(plot, await learningRateChart(found));
      for (const line of suggestionLines(found)) console.log(line);
      console.log(printable(`wrote ${plot}`));
    },
  );
}

function suggestionLines({ suggestion, losses, rates, diverged }: LearningRates): string[] {
  const ended = `tried ${losses.length} rates${losses.length > 0 ? `, up to ${short(rates[rates.length - 1])}` : ''}${
    diverged ? ', where the loss rose' : ''
  }`;
  return [
    ended,
    suggestion === null
      ? 'the loss fell at none of them: there is no suggestion'
      : `suggestion: --learning_rate ${short(suggestion)}, where the loss falls fastest`,
  ];
}

/** `steploom find-batch-size <preset>`. */
export function addFindBatchSize(program: Command): void {
  addPresetCommands(
    program.command('find-batch-size').description('Find the largest batch that fits into memory, by trying. Trains nothing.'),
    async (composition, { own: { most }, options }) => {
      const found = await withTrainer(composition, async (trainer) => {
        const { plan } = await trainer.explain();
        // A preset may show several examples for one of its batch: pictures of a class beside those of a thing.
        const each = plan.batchSize / (options.trainBatchSize as number);
        const sizeOf = (batchSize: number) => Math.floor(batchSize / each);
        const { batchSize } = await trainer.findBatchSize({
          ...(most === undefined ? {} : { most: most * each }),
          onTry: (tried) =>
            console.error(
              `${sizeOf(tried.batchSize)}: ${
                tried.seconds === undefined
                  ? 'does not fit'
                  : `${short(tried.seconds)} s, ${short(tried.batchSize / tried.seconds)} examples a second`
              }`,
            ),
        });
        return batchSize === null ? null : sizeOf(batchSize);
      });
      console.log(found ? `the largest that fits: --train_batch_size ${found}` : 'not even one example fits: lower the resolution');
    },
    (command) => void command.addOption(flagWithValue('--most <number>', MOST)),
  );
}
