import {
  type Filling,
  type GroupRates,
  type Host,
  matches,
  type NamePattern,
  OPTIMIZER,
  type Optimizer,
  type Parameter,
  RUN,
  type Update,
} from '../../core/index.js';

/** An optimizer as a plugin, such as adamw(). */
type OptimizerPlugin = Filling<'OPTIMIZER'>;

export interface GroupOptions {
  /** Which trained parameters: by path, see {@link matches}. Those of an earlier group are not asked again. */
  readonly match: NamePattern | readonly NamePattern[];
  /** A base rate for the group. */
  readonly learningRate?: number;
  /** Or the run's, times this. */
  readonly rateFactor?: number;
  readonly weightDecay?: number;
  /** Makes an optimizer for the group alone, which takes the name it is given: `sgd`, or `({ name }) => sgd({ name, momentum: 0.9 })`. */
  readonly optimizer?: (options: { readonly name: string }) => OptimizerPlugin;
}

/** Biases, and the weights of normalizations: what is usually left without decay. */
export const BIASES_AND_NORMS: readonly NamePattern[] = ['bias', '*norm*'];

/**
 * Parameter groups: another learning rate, decay or optimizer for parameters picked by name. What no group takes keeps `main` and the
 * run's rates. The schedule multiplies every group's rate.
 *
 *     preset.with(groups(adamw(), { flat: { match: BIASES_AND_NORMS, weightDecay: 0 }, text: { match: 'text_encoder', rateFactor: 0.5 } }))
 */
export function groups(main: OptimizerPlugin, options: Readonly<Record<string, GroupOptions>>) {
  /** Optimizers by the group that names them. */
  const named = new Map<string, OptimizerPlugin>();
  for (const [group, { optimizer }] of Object.entries(options)) if (optimizer) named.set(group, optimizer({ name: `${group}-optimizer` }));
  const all = [main, ...named.values()];
  const rates: Record<string, GroupRates> = {};

  return {
    name: 'groups',
    fills: OPTIMIZER,
    // Adapters bring parameters, which a group may pick.
    after: ['lora'],
    groups: rates,
    get usualLearningRate() {
      return main.usualLearningRate;
    },
    get needsAll() {
      return all.some((optimizer) => optimizer.needsAll);
    },
    async apply(host: Host): Promise<void> {
      const { hooks, resolve } = host;
      for (const optimizer of all) await host.adopt(optimizer);
      hooks.validate.tap((problems) => {
        const check = problems.options('groups');
        for (const [name, { learningRate, rateFactor, weightDecay }] of Object.entries(options)) {
          for (const [key, value] of Object.entries({ learningRate, rateFactor, weightDecay }))
            if (value !== undefined) check.notNegative(`${name}.${key}`, value);
          if (learningRate !== undefined && rateFactor !== undefined)
            check.invalid(`${name} has a learningRate and a rateFactor`, 'Give one of them.');
        }
      });
      hooks.prepareModel.tap((model, problems) => {
        const parameters = new Map<string, Parameter>(model.parameters);
        const taken = new Set<string>();
        const trained = [...parameters].filter(([, { trainable }]) => trainable);
        const base = resolve(RUN).learningRate;
        for (const [group, { match, rateFactor, learningRate, weightDecay }] of Object.entries(options)) {
          rates[group] = { learningRate: rateFactor === undefined ? learningRate : base * rateFactor, weightDecay };
          for (const pattern of [match].flat() as NamePattern[]) {
            const found = trained.filter(([path]) => matches(pattern, path));
            if (found.length === 0) {
              const examples = trained.slice(0, 3).map(([path]) => path);
              const what = `${pattern} of the group ${group} fits no trained parameter`;
              problems.add('PATTERN_UNMATCHED', 'groups', what, `There are ${trained.length}, such as ${examples.join(', ')}.`);
            }
            for (const [path, parameter] of found) {
              if (!taken.has(path)) parameters.set(path, { ...parameter, group });
              taken.add(path);
            }
          }
        }
        return { ...model, parameters };
      });
    },
    start(parameters: ReadonlyMap<string, Parameter>, trained = parameters): void {
      const of = (some: ReadonlyMap<string, Parameter>, optimizer: OptimizerPlugin) =>
        new Map([...some].filter(([, { group }]) => (named.get(group) ?? main) === optimizer));
      // Every optimizer is started, also one with nothing to do: its state is saved.
      for (const optimizer of all) optimizer.start(of(parameters, optimizer), of(trained, optimizer));
    },
    update(update: Update, groupRates: Parameters<Optimizer['update']>[1], step: number): void {
      for (const optimizer of all) optimizer.update(update, groupRates, step);
    },
    // Rates may change from one resumption to the next, as the run's may; who is in which group may not.
    settings: () => Object.fromEntries(Object.entries(options).map(([group, { match }]) => [group, [match].flat().map(String)])),
    stateBytes: () => all.reduce((sum, optimizer) => sum + optimizer.stateBytes(), 0),
  };
}
