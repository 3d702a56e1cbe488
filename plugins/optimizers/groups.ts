import {
  type AnyPlugin,
  type Composition,
  compose,
  type GroupSettings,
  type Host,
  type Optimizer,
  type Parameter,
  type Plugin,
  RUN,
} from '../../core/index.js';
import { matches, type NamePattern } from '../../core/name-pattern.js';

export interface GroupOptions {
  /** Which trained parameters: by path, see {@link matches}. Those of an earlier group are not asked again. */
  readonly match: NamePattern | readonly NamePattern[];
  /** The group's own base rate. */
  readonly learningRate?: number;
  /** Or the run's, times this. */
  readonly rateFactor?: number;
  readonly weightDecay?: number;
  /** Makes an optimizer of the group's own, which takes the name it is given: `sgd`, or `({ name }) => sgd({ name, momentum: 0.9 })`. */
  readonly optimizer?: (options: { readonly name: string }) => Optimizer & { readonly name: string };
}

/** Biases, and the weights of normalizations: what is usually left without decay. */
export const BIASES_AND_NORMS: readonly NamePattern[] = ['bias', '*norm*'];

/**
 * Parameter groups: another learning rate, decay or optimizer for parameters picked by name. What no group takes keeps the
 * run's. The schedule multiplies every group's rate.
 *
 *     preset.with(groups({ flat: { match: BIASES_AND_NORMS, weightDecay: 0 }, text: { match: 'text_encoder', rateFactor: 0.5 } }))
 */
export function groups(options: Readonly<Record<string, GroupOptions>>): Composition {
  const optimizers = new Map<string, Optimizer>();
  for (const [group, { optimizer }] of Object.entries(options))
    if (optimizer) optimizers.set(group, optimizer({ name: `${group}-optimizer` }));
  const plugin: Plugin = {
    name: 'groups',
    after: ['lora'],
    apply({ hooks, resolve }: Host) {
      hooks.validate.tap('groups', (problems) => {
        const bad = (what: string, fix: string) => problems.add('OPTION_INVALID', 'groups', what, fix);
        for (const [name, { learningRate, rateFactor, weightDecay }] of Object.entries(options)) {
          for (const [key, value] of Object.entries({ learningRate, rateFactor, weightDecay }))
            if (value !== undefined && !(value >= 0 && Number.isFinite(value)))
              bad(`${name}.${key} is ${value}`, 'Give a number of at least 0.');
          if (learningRate !== undefined && rateFactor !== undefined)
            bad(`${name} has a learningRate and a rateFactor`, 'Give one of them.');
        }
        return undefined;
      });
      hooks.prepareModel.tap('groups', (model, problems) => {
        const parameters = new Map<string, Parameter>(model.parameters);
        const taken = new Set<string>();
        const trained = [...parameters].filter(([, { trainable }]) => trainable);
        const settings: Record<string, GroupSettings> = { ...model.groups };
        const base = resolve(RUN).learningRate;
        for (const [group, { match, rateFactor, learningRate, weightDecay }] of Object.entries(options)) {
          settings[group] = {
            learningRate: rateFactor === undefined ? learningRate : base * rateFactor,
            weightDecay,
            optimizer: optimizers.get(group),
          };
          for (const pattern of [match].flat() as NamePattern[]) {
            const found = trained.filter(([path]) => matches(pattern, path));
            if (found.length === 0)
              problems.add(
                'PATTERN_UNMATCHED',
                'groups',
                `${pattern} of the group ${group} fits no trained parameter`,
                `There are ${trained.length}, such as ${trained
                  .slice(0, 3)
                  .map(([path]) => path)
                  .join(', ')}.`,
              );
            for (const [path, parameter] of found) {
              if (!taken.has(path)) parameters.set(path, { ...parameter, group });
              taken.add(path);
            }
          }
        }
        return { ...model, parameters, groups: settings };
      });
    },
  };
  return compose(plugin, ...[...optimizers.values()].map((optimizer) => ({ ...optimizer, fills: undefined }) as unknown as AnyPlugin));
}
