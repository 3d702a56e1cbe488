import { type Host, type Model, type ModuleFacts, type Parameter, type Problems, RANDOM, type Random } from '../../core/index.js';
import * as tf from '../../core/tf.js';
import { endsWith, scalingOf } from '../persist/formats/lora/matrices.js';
import { lengths, loraPaths, matchModules, withLora } from './lora/modules.js';

export interface LoraOptions {
  /** Rank of every adapter; 4 by default. */
  readonly rank?: number;
  /** Scale is alpha / rank (rslora: alpha / sqrt(rank)); the rank by default. */
  readonly alpha?: number;
  /** Modules to adapt: the end of a path ("to_q", "ff.net.2"), or a pattern for the whole path. */
  readonly targets?: readonly (string | RegExp)[];
  /** Only modules below this part of the model; the denoiser by default. */
  readonly below?: string;
  /** Modules of the text encoders to adapt as well, in the same way; none by default. */
  readonly textTargets?: readonly (string | RegExp)[];
  /** How often a number of what an adapter is given is left out while it is trained; 0 by default. */
  readonly dropout?: number;
  /** How A starts; B starts at 0. */
  readonly start?: 'gaussian' | 'kaiming';
  /** Scale by alpha / sqrt(rank) (Kalajdzievski 2023) in place of alpha / rank; off by default. */
  readonly rslora?: boolean;
  /** Other ranks of modules, by the ends of their paths; the first that fits counts. Alpha stays as it is, as in peft. */
  readonly rankPattern?: Readonly<Record<string, number>>;
  /** The same of alpha. */
  readonly alphaPattern?: Readonly<Record<string, number>>;
  /** DoRA (Liu et al. 2024): what each output is computed with has a length of its own, which is trained, beside its direction; off by default. */
  readonly dora?: boolean;
}

/** What diffusers' script adapts. */
export const ATTENTION_TARGETS = ['to_k', 'to_q', 'to_v', 'to_out.0'] as const;

/** The same of text encoders, where they are trained. */
export const TEXT_ATTENTION_TARGETS = ['q_proj', 'k_proj', 'v_proj', 'out_proj'] as const;

/**
 * LoRA (Hu et al. 2021) as peft has it: y = base(x) + B(A(dropout(x))) scale, on linear and convolution modules. The
 * model's weights are frozen: they get no gradient and no optimizer state.
 */
export const lora = (options: LoraOptions = {}) => {
  const {
    rank = 4,
    targets = ATTENTION_TARGETS,
    below = 'unet.',
    dropout = 0,
    textTargets = [],
    start = 'gaussian',
    rslora = false,
    rankPattern = {},
    alphaPattern = {},
    dora = false,
  } = options;
  const alpha = options.alpha ?? rank;
  // What older checkpoints have nothing of stays out of those that do not use it.
  const more = {
    ...(options.rankPattern ? { rankPattern: { ...rankPattern } } : {}),
    ...(options.alphaPattern ? { alphaPattern: { ...alphaPattern } } : {}),
    ...(dora ? { dora } : {}),
  };
  const scaling = { rank, alpha, rslora, rankPattern, alphaPattern };
  return {
    name: 'lora',
    ...scaling,
    apply({ hooks, resolve }: Host) {
      hooks.validate.tap((problems) => {
        const check = problems.options('lora');
        check.whole('rank', rank, 1);
        check.positive('alpha', alpha);
        check.share('dropout', dropout);
        for (const [end, own] of Object.entries(rankPattern)) check.whole(`rankPattern of ${end}`, own, 1);
        for (const [end, own] of Object.entries(alphaPattern)) check.positive(`alphaPattern of ${end}`, own);
        if (targets.length === 0) check.invalid('there are no targets', 'Name at least one module.');
      });
      hooks.prepareModel.tap((model, problems) => adapt(model, problems, resolve(RANDOM)));
    },
    settings: () => ({ rank, alpha, rslora, dropout, targets: targets.map(String), below, textTargets: textTargets.map(String), ...more }),
  };

  function adapt(model: Model, problems: Problems, random: Random): Model {
    const unmatched = (what: string, fix: string) => problems.add('TARGET_UNMATCHED', 'lora', what, fix);
    const matching = (wanted: readonly (string | RegExp)[], part: string): string[] => {
      const some = [...model.modules.keys()].filter((path) => path.startsWith(part)).slice(0, 3);
      if (some.length > 0)
        return matchModules(model.modules, wanted, part, (target) =>
          unmatched(`no module below "${part}" matches ${target}`, `Targets are the ends of paths such as ${some.join(', ')}.`),
        );
      if (wanted.length > 0) unmatched(`the model has no module below "${part}"`, 'Leave that part of the model as it is.');
      return [];
    };
    const found = new Set([...matching(targets, below), ...matching(textTargets, 'text_encoder')]);
    for (const end of [...Object.keys(rankPattern), ...Object.keys(alphaPattern)])
      if (![...found].some((path) => endsWith(path, end)))
        unmatched(`no module that is adapted ends with the pattern ${end}`, 'Patterns are the ends of paths, as targets are.');
    const modules = [...found].map((path) => {
      const facts = model.modules.get(path) as ModuleFacts;
      const { group, variable } = model.parameters.get(facts.weight) as Parameter;
      const { rank, scale } = scalingOf(path, scaling);
      const [size, out] = facts.shape.slice(-2);
      const fanIn = facts.shape.slice(0, -1).reduce((x, y) => x * y, 1);
      const shapeA = facts.kind === 'linear' ? [size, rank] : [...facts.shape.slice(0, 3), rank];
      const values = new Float32Array(fanIn * rank);
      const draws = random.named(`start:${loraPaths(path).a}`);
      if (start === 'gaussian') values.set(draws.normals(values).map((x) => x / rank));
      else draws.uniforms(values, -1 / Math.sqrt(fanIn), 1 / Math.sqrt(fanIn));
      const b = tf.zeros(facts.kind === 'linear' ? [rank, out] : [1, 1, rank, out]);
      // B is 0 yet: the lengths are those of the weights.
      return {
        path,
        facts,
        group,
        a: tf.tensor(values, shapeA),
        b,
        scale,
        ...(dora ? { magnitude: tf.tidy(() => lengths(variable)) } : {}),
      };
    });
    return withLora(model, modules, dropout);
  }
};
