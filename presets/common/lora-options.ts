import { z } from 'zod';
import { ATTENTION_TARGETS, lora, TEXT_ATTENTION_TARGETS } from '../../plugins/adapters/lora.js';
import { count, names, type OptionValues, positive } from './options.js';

/** Numbers by names. */
const pattern = () => z.array(z.string().regex(/^[^=]+=\d+(\.\d+)?$/, 'expected names with numbers, as to_q=8')).readonly();

const numbersOf = (given: readonly string[] | undefined) =>
  given && Object.fromEntries(given.map((text) => [text.split('=')[0], Number(text.split('=')[1])]));

/** The options of adapters. */
export const loraOptions = {
  rank: count().default(4).describe('Rank of the adapters.'),
  loraAlpha: positive().optional().describe('The adapters are scaled by alpha / rank; the rank by default.'),
  loraDropout: z.number().min(0).max(0.999).default(0).describe('Dropout before the adapters.'),
  loraTargets: names()
    .default([...ATTENTION_TARGETS])
    .describe('Modules to adapt, by the ends of their paths.'),
  trainTextEncoder: z.boolean().default(false).describe('Adapt the attention of the text encoders as well.'),
  useRslora: z.boolean().default(false).describe('Scale by alpha / sqrt(rank).'),
  rankPattern: pattern()
    .optional()
    .describe('Other ranks of modules, by the ends of their paths: to_q=8,ff.net.2=16. Alpha stays as it is, as in peft.'),
  alphaPattern: pattern().optional().describe('The same of alpha.'),
  useDora: z.boolean().default(false).describe('DoRA: the lengths of weights are trained beside their directions; a step takes longer.'),
};

/** The adapters that these options ask for. */
export const loraOf = (o: OptionValues<typeof loraOptions>) =>
  lora({
    rank: o.rank,
    alpha: o.loraAlpha ?? o.rank,
    rslora: o.useRslora,
    rankPattern: numbersOf(o.rankPattern),
    alphaPattern: numbersOf(o.alphaPattern),
    dora: o.useDora,
    targets: o.loraTargets,
    dropout: o.loraDropout,
    textTargets: o.trainTextEncoder ? TEXT_ATTENTION_TARGETS : [],
  });
