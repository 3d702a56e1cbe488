const TODAY: Readonly<Record<string, string>> = { query: 'to_q', key: 'to_k', value: 'to_v', proj_attn: 'to_out.0' };

/**
 * The name that a tensor of a component has today. Autoencoders from before diffusers 0.13 call the projections of an attention query, key, value and
 * proj_attn (they are [c, c] in both); transformers before 5 puts `text_model.` before all names of a text encoder. Null for position_ids, a constant
 * that is no weight. Other names come back as they are.
 */
export function todaysName(name: string): string | null {
  if (name.endsWith('position_ids')) return null;
  return name
    .replace(/^text_model\./, '')
    .replace(/(\.attentions\.\d+\.)(query|key|value|proj_attn)(?=\.(weight|bias)$)/, (_, path: string, old: string) => path + TODAY[old]);
}
