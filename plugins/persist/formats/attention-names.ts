const TODAY: Readonly<Record<string, string>> = { query: 'to_q', key: 'to_k', value: 'to_v', proj_attn: 'to_out.0' };

/**
 * The name that an autoencoder's tensor has today: files from before diffusers 0.13 call the projections of an attention query, key, value and
 * proj_attn (they are [c, c] in both). Other names come back as they are.
 */
export const todaysAttentionName = (name: string): string =>
  name.replace(/(\.attentions\.\d+\.)(query|key|value|proj_attn)(?=\.(weight|bias)$)/, (_, path: string, old: string) => path + TODAY[old]);
