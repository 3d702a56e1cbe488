import { type Model, type Plugin, printable, trainablePaths } from '../../core/index.js';
import { isTextToImage } from '../../plugins/models/stable-diffusion/text-to-image.js';
import { FAMILY_NAMES, familyOfModel } from '../../plugins/persist/formats/lora/family.js';

/** Where what is trained comes from and goes to, as the options have it. */
export interface IntroductionOptions {
  readonly pretrainedModelNameOrPath?: string | undefined;
  readonly trainDataDir?: string | undefined;
  readonly resolution?: number | undefined;
  readonly outputDir: string;
}

export const INTRODUCTION = 'introduction';

const count = (n: number): string => n.toLocaleString('en-US');

function modelLine(model: Model, { pretrainedModelNameOrPath, resolution }: IntroductionOptions): string {
  if (!isTextToImage(model)) return pretrainedModelNameOrPath ?? 'one of your own';
  const { codec, latentSize, modules } = model;
  // Models of pixels are built like them, and are none of them.
  const family = codec.isLearned ? familyOfModel(modules) : null;
  return [
    family ? FAMILY_NAMES[family] : codec.isLearned ? 'text to image' : 'text to image, of pixels',
    pretrainedModelNameOrPath === undefined ? '' : ` from ${pretrainedModelNameOrPath}`,
    `, at ${resolution ?? latentSize * codec.factor} pixels`,
  ].join('');
}

/** Says what a run is when it begins, on rank 0: model, images, what is trained, batch, length and where it goes. Needs Node. */
export const introduction = (options: IntroductionOptions, say = (text: string): void => console.error(printable(text))): Plugin => ({
  name: INTRODUCTION,
  apply: ({ hooks, model: modelOf, isFirstRank, startStep }) =>
    hooks.onStart.tap((plan) => {
      if (!isFirstRank()) return;
      const model = modelOf();
      const size = (path: string) => model.parameters.get(path)?.variable.size ?? 0;
      const sum = (paths: Iterable<string>) => [...paths].reduce((all, path) => all + size(path), 0);
      const { batchSize, windowLength, worldSize, effectiveBatch } = plan;
      const rows: [string, string][] = [
        ['model', modelLine(model, options)],
        ['images', `${count(plan.items)}${options.trainDataDir === undefined ? '' : ` in ${options.trainDataDir}`}`],
        ['trained', `${count(sum(trainablePaths(model)))} of ${count(sum(model.parameters.keys()))} parameters`],
        ['batch', `${effectiveBatch} = ${batchSize} x accumulation ${windowLength} x processes ${worldSize}`],
        [
          'length',
          `${count(plan.steps)} ${plan.steps === 1 ? 'step' : 'steps'}, ${plan.epochs === 1 ? '1 epoch' : `${count(plan.epochs)} epochs`} of ${count(plan.stepsPerEpoch)}${
            startStep() > 0 ? `; goes on from step ${count(startStep())}` : ''
          }`,
        ],
        ['output', options.outputDir],
      ];
      for (const [name, text] of rows) say(`${name.padEnd(9)}${text}`);
    }),
});
