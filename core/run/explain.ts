import type { Forecast, MemoryForecast } from '../forecast.js';
import { trainablePaths } from '../model.js';
import type { Plan } from '../plan.js';
import type { HookName } from '../plugin/hooks.js';
import { type Role, roleName, SCHEDULE } from '../plugin/roles.js';
import { sizeText } from '../size-text.js';
import type { Prepared } from './prepared.js';
import { ratesAt } from './step.js';

/** What a run is going to do. `text` is the same for reading. */
export interface Explanation {
  readonly plan: Plan;
  readonly plugins: readonly { readonly name: string; readonly fills?: string }[];
  readonly hooks: readonly { readonly hook: HookName; readonly taps: readonly string[] }[];
  /** Learning rates at some steps, per group; null where they depend on metrics. */
  readonly learningRates: readonly { readonly step: number; readonly rates: Readonly<Record<string, number>> }[] | null;
  readonly device: string;
  readonly parameters: number;
  readonly trainableParameters: number;
  readonly trainableTensors: number;
  /** Bytes the optimizer keeps. */
  readonly optimizerBytes: number;
  /** What a step takes; null where that was not looked for: the objective has no way to try a step, or the device cannot rehearse one and its memory's end is far away. */
  readonly forecast: Forecast | null;
  readonly text: string;
}

/** Describes a run that is set up; trains nothing. */
export function explainRun(run: Prepared): Explanation {
  const { plan, model, hooks, device, assembled, forecast } = run;
  const sizes = trainablePaths(model).map((path) => model.parameters.get(path)?.variable.size ?? 0);
  const parameters = [...model.parameters.values()].reduce((sum, p) => sum + p.variable.size, 0);
  const trainableParameters = sizes.reduce((sum, size) => sum + size, 0);
  const optimizerBytes = run.optimizer.stateBytes();
  const marks = [0, 1, plan.warmupSteps, Math.floor(plan.steps / 2), plan.steps - 1].filter((s) => s >= 0 && s < plan.steps);
  const learningRates = assembled.resolve(SCHEDULE).unknown
    ? null
    : [...new Set(marks)]
        .sort((a, b) => a - b)
        .map((step) => ({
          step,
          rates: Object.fromEntries(Object.entries(ratesAt(run, step, run.metrics)).map(([group, rate]) => [group, rate.learningRate])),
        }));
  const plugins = assembled.ready.map(({ facts }) => ({
    name: facts.name,
    ...(facts.fills ? { fills: roleName(facts.fills as Role) } : {}),
  }));
  const taps = Object.entries(hooks).map(([hook, h]) => ({ hook: hook as HookName, taps: h.taps.map((tap) => tap.name) }));
  const count = (n: number) => n.toLocaleString('en-US');
  const text = [
    'Plugins',
    ...plugins.map((p) => `  ${p.name}${p.fills ? ` (${p.fills})` : ''}`),
    '',
    'Hooks, in the order a run meets them, and who taps each',
    ...taps.map(({ hook, taps: names }) => `  ${hook.padEnd(14)}${names.join(' -> ') || '-'}`),
    '',
    ...(run.source.facts ? ['Data', ...run.source.facts.map(([name, text]) => `  ${name.padEnd(22)}${text}`), ''] : []),
    'Plan',
    `  device                ${device.name} (${device.detail})`,
    `  steps                 ${count(plan.steps)} (${plan.stepsPerEpoch} an epoch, ${plan.epochs} epochs)`,
    `  effective batch       ${plan.effectiveBatch} = ${plan.batchSize} x window ${plan.windowLength} x ranks ${plan.worldSize}`,
    `  examples              ${count(plan.items)}`,
    `  warm-up steps         ${plan.warmupSteps}`,
    `  learning rate         ${
      learningRates
        ? learningRates
            .map(
              ({ step, rates }) =>
                `${Object.values(rates)
                  .map((r) => r.toPrecision(3))
                  .join('/')} at step ${step}`,
            )
            .join(', ')
        : 'depends on metrics'
    }`,
    `  parameters            ${count(parameters)}, of which trained ${count(trainableParameters)} in ${sizes.length} tensors`,
    `  optimizer state       ${count(optimizerBytes)} bytes`,
    ...(forecast?.memory ? [`  memory of a step      ${memoryText(forecast.memory)}`] : []),
    ...(forecast?.graphs ?? []).map(
      ({ path, why }) => `  graph capture         ${why === null ? `${path} is captured` : `${path} runs operation by operation: ${why}`}`,
    ),
  ].join('\n');
  return {
    plan,
    plugins,
    hooks: taps,
    learningRates,
    device: device.name,
    parameters,
    trainableParameters,
    trainableTensors: sizes.length,
    optimizerBytes,
    forecast,
    text,
  };
}

/** A step's memory in words. */
export const memoryText = ({ bytes, largest, exact }: MemoryForecast): string =>
  `${exact ? '' : 'at least '}${sizeText(bytes)} at its peak; the largest piece has ${sizeText(largest)}`;
