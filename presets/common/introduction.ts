import {
  CLOCK,
  type MemoryForecast,
  type Model,
  OPTIMIZER,
  type Plan,
  type Plugin,
  printable,
  type Source,
  sizeText,
  trainablePaths,
} from '../../core/index.js';
import { duration } from '../../plugins/observe/progress/duration.js';
import { StatusLine } from '../../plugins/observe/progress/status-line.js';
import { count, type ModelOptions, modelRows } from './model-rows.js';

/** Where what is trained comes from and goes to, as the options have it. */
export interface IntroductionOptions extends ModelOptions {
  readonly trainDataDir?: string | undefined;
  readonly datasetName?: string | undefined;
  readonly instanceDataDir?: string | undefined;
  readonly outputDir: string;
  readonly mixedPrecision?: string | undefined;
}

export const INTRODUCTION = 'introduction';

/** What is there in every step. What a step takes beside it depends on the device: where it was not forecast, find-batch-size tries it. */
function memoryLine(model: Model, optimizerBytes: number, half: boolean, forecast: MemoryForecast | null): string {
  const weights = [...model.parameters.values()].reduce(
    (sum, { variable, trainable }) => sum + (half && !trainable ? 2 : 4) * variable.size,
    0,
  );
  const parts = `${sizeText(weights)} of weights, ${sizeText(optimizerBytes)} of the optimizer, and what a step takes`;
  return forecast ? `a peak of ${forecast.exact ? '' : 'at least '}${sizeText(forecast.bytes)}: ${parts}` : parts;
}

/** Steps between which a step's time is measured: at first shaders are made and memory is asked for. Runs that are not much longer say nothing of it. */
const [FROM, TO, LONG] = [10, 30, 100];

/** On a terminal above the bar. */
function sayAbove(text: string): void {
  if (process.stderr.isTTY) StatusLine.of(process.stderr).print(printable(text));
  else console.error(printable(text));
}

/** Says what a run is when it begins, on rank 0: model, images, what is trained, batch, length, memory and where it goes; and after some steps how long it will take. Needs Node. */
export const introduction = (options: IntroductionOptions, say = sayAbove): Plugin => ({
  name: INTRODUCTION,
  apply: ({ hooks, model: modelOf, isFirstRank, startStep, resolve, plan: planOf, forecast }) => {
    let began = 0;
    hooks.afterStep.tap((step) => {
      const made = step + 1 - startStep();
      const left = planOf().steps - step - 1;
      if (!isFirstRank() || (made !== FROM && made !== TO)) return;
      const now = resolve(CLOCK).now();
      if (made === FROM) began = now;
      else if (left >= LONG - TO)
        say(
          `${'time'.padEnd(9)}about ${duration((((now - began) / (TO - FROM)) * left) / 1000)} for the ${count(left)} steps that are left`,
        );
    });
    let facts: Source['facts'];
    hooks.prepareData.tap((source) => {
      facts = source.facts;
      return source;
    });
    hooks.onStart.tap((plan: Plan) => {
      if (!isFirstRank()) return;
      const model = modelOf();
      const elements = (path: string) => model.parameters.get(path)?.variable.size ?? 0;
      const sum = (paths: Iterable<string>) => [...paths].reduce((all, path) => all + elements(path), 0);
      const { batchSize, windowLength, worldSize, effectiveBatch } = plan;
      const place = options.trainDataDir ?? options.datasetName ?? options.instanceDataDir;
      const rows: (readonly [string, string])[] = [
        ...modelRows(model, options),
        ['images', `${count(plan.items)}${place === undefined ? '' : ` in ${place}`}`],
        ...(facts ?? []),
        ['trained', `${count(sum(trainablePaths(model)))} of ${count(sum(model.parameters.keys()))} parameters`],
        ['batch', `${effectiveBatch} = ${batchSize} x accumulation ${windowLength} x processes ${worldSize}`],
        [
          'length',
          `${count(plan.steps)} ${plan.steps === 1 ? 'step' : 'steps'}, ${plan.epochs === 1 ? '1 epoch' : `${count(plan.epochs)} epochs`} of ${count(plan.stepsPerEpoch)}${
            startStep() > 0 ? `; goes on from step ${count(startStep())}` : ''
          }`,
        ],
        ['memory', memoryLine(model, resolve(OPTIMIZER).stateBytes(), options.mixedPrecision === 'fp16', forecast()?.memory ?? null)],
        ['output', options.outputDir],
      ];
      for (const [name, text] of rows) say(`${name.padEnd(9)}${text}`);
    });
  },
});
