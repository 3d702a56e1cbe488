import { z } from 'zod';
import { ATTENTION_TARGETS, lora, TEXT_ATTENTION_TARGETS } from '../../plugins/adapters/lora.js';
import { count, names, type OptionValues, positive } from './options.js';

/** The options of adapters. */
export const loraOptions = {
  rank: count().default(4).describe('Rank of the adapters.'),
  loraAlpha: positive().optional().describe('The adapters are scaled by alpha / rank; the rank by default.'),
  loraDropout: z.number().min(0).max(0.999).default(0).describe('Dropout before the adapters.'),
  loraTargets: names()
    .default([...ATTENTION_TARGETS])
    .describe('Modules to adapt, by the ends of their paths.'),
  trainTextEncoder: z.boolean().default(false).describe('Adapt the attention of the text encoders as well.'),
  rslora: z.boolean().default(false).describe('Scale by alpha / sqrt(rank).'),
};

/** The adapters that these options ask for. */
export const loraOf = (o: OptionValues<typeof loraOptions>) =>
  lora({
    rank: o.rank,
    alpha: o.loraAlpha ?? o.rank,
    rslora: o.rslora,
    targets: o.loraTargets,
    dropout: o.loraDropout,
    textTargets: o.trainTextEncoder ? TEXT_ATTENTION_TARGETS : [],
  });
