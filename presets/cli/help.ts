import { type Command, Help } from 'commander';
import { snake } from '../common/option-facts.js';
import { diffusionOptions, imageOptions, modelOptions, optimizerOptions, runOptions, samplingOptions } from '../common/options.js';

const flags = (...names: readonly string[]): ReadonlySet<string> => new Set(names.map(snake));

/** What most runs give; the rest is shown by --help all. */
const OF_RUNS = flags(
  ...['config', 'trainDataDir', 'datasetName', 'instanceDataDir', 'instancePrompt', 'pretrainedModelNameOrPath', 'outputDir'],
  ...['resolution', 'trainBatchSize', 'learningRate', 'maxTrainSteps', 'rank', 'mixedPrecision', 'validationPrompt'],
  ...['device', 'resumeFromCheckpoint', 'ui', 'fastDevRun'],
);
/** The same of pictures. */
const OF_PICTURES = flags(
  ...['prompt', 'promptsFile', 'negativePrompt', 'pretrainedModelNameOrPath', 'lora', 'output', 'seed', 'height', 'width'],
  ...['numImagesPerPrompt', 'numInferenceSteps', 'guidanceScale', 'sampler', 'device'],
);

/** Commands with so many options show the common ones first. */
const MANY = 20;

/** Headings, and the options below each; what is in none is the preset's own. The first that has an option counts. */
const GROUPS: readonly (readonly [string, readonly string[]])[] = [
  ['Several processes:', ['timeout', 'checkEvery', 'splitBatches', 'gradientCompression']],
  ['Checkpoints:', Object.keys(runOptions).filter((name) => /^(checkpoint|resume)/.test(name))],
  ['Run and what is watched of it:', Object.keys(runOptions)],
  ['Optimizer and schedule:', Object.keys(optimizerOptions)],
  ['Loss and precision:', Object.keys(diffusionOptions)],
  ['Images and captions:', Object.keys(imageOptions)],
  ['Model:', Object.keys(modelOptions).filter((name) => !/^(validation|numValidation|earlyStopping)/.test(name))],
  ['Evaluation and pictures:', [...Object.keys(modelOptions), ...Object.keys(samplingOptions)]],
];
const OTHERS = 'Of this command:';

/** Whether everything is asked for: `--help all`, which leaves `--help`. */
export function takeHelpAll(args: string[]): boolean {
  const at = args.findIndex((argument, i) => ['--help', '-h'].includes(argument) && args[i + 1] === 'all');
  if (at >= 0) args.splice(at + 1, 1);
  return at >= 0;
}

/** Puts a command's options under headings; of many, those that are less common are left to --help all. */
export function arrangeHelp(command: Command, all: boolean): void {
  const isLong = command.options.filter(({ hidden }) => !hidden).length > MANY;
  if (!isLong) return;
  const common = command.options.some(({ long }) => long === '--prompt') ? OF_PICTURES : OF_RUNS;
  let left = 0;
  for (const option of command.options) {
    const name = option.long?.slice(2) ?? '';
    if (option.hidden) continue;
    if (!all && !common.has(name)) {
      option.hideHelp();
      left++;
    }
    if (all) option.helpGroup(GROUPS.find(([, options]) => options.map(snake).includes(name))?.[0] ?? OTHERS);
  }
  if (left > 0) command.addHelpText('after', `\n${left} more: --help all`);
}

/** The narrowest column that texts are put into beside the options. */
const NARROW = 40;

/** A description stands below its option where beside it there is no room for one. */
export function formatItem(term: string, termWidth: number, description: string, helper: Help): string {
  const width = helper.helpWidth ?? 80;
  if (!description || width - termWidth - 4 >= NARROW) return Help.prototype.formatItem.call(helper, term, termWidth, description, helper);
  return `  ${term}\n      ${helper.boxWrap(description, width - 6).replaceAll('\n', '\n      ')}`;
}
