/** Which of a module's tensors a key names: the two matrices, LoCon's one between them, alpha, or DoRA's magnitudes, as peft and as LyCORIS have them. */
export type Part = 'a' | 'b' | 'mid' | 'alpha' | 'magnitude' | 'doraScale';

const PARTS: Readonly<Record<string, Part>> = { down: 'a', A: 'a', up: 'b', B: 'b', mid: 'mid' };

const ENDS: readonly RegExp[] = [
  // kohya's, LoCon's
  /^(.+)\.lora_(down|up|mid)\.weight$/,
  // diffusers until 0.19: attn1.processor.to_q_lora.down.weight
  /^(.+)_lora\.(down|up)\.weight$/,
  // diffusers since: attn1.to_q.lora.down.weight; text encoders q_proj.lora_linear_layer.down.weight
  /^(.+)\.lora(?:_linear_layer)?\.(down|up)\.weight$/,
  // peft's, with an adapter's name between
  /^(.+)\.lora_(A|B)(?:\.[\w-]+)?\.weight$/,
];

/** The module, as the file names it, and which of its tensors a key means; null where it is no LoRA's. */
export function parseKey(key: string): { module: string; part: Part } | null {
  const bare = key.replace(/^base_model\.model\./, '');
  const alpha = /^(.+?)(?:\.lora)?\.alpha$/.exec(bare);
  if (alpha) return { module: alpha[1], part: 'alpha' };
  const lengths = /^(.+)\.(?:(dora_scale)|lora_magnitude_vector(?:\.[\w-]+){0,2})$/.exec(bare);
  if (lengths) return { module: lengths[1], part: lengths[2] ? 'doraScale' : 'magnitude' };
  for (const end of ENDS) {
    const match = end.exec(bare);
    if (match) return { module: match[1], part: PARTS[match[2]] };
  }
  return null;
}

/** Keys of adapters that are no LoRA, or more than one: what they are called, and how they are known. */
const OTHER_KINDS: readonly (readonly [name: string, key: RegExp])[] = [
  ['LoHa', /\.hada_[wt]/],
  ['LoKr', /\.lokr_[wt]/],
  ['(IA)3', /\.ia3_l$|\.on_input$/],
  ['OFT', /\.oft_|oft_diag/],
  ['GLoRA', /\.(a1|a2|b1|b2)\.weight$/],
  ['a LoRA with biases', /\.lora_B(\.[\w-]+)?\.bias$/],
  ['a LoRA of embeddings', /\.lora_embedding_[AB]/],
  ['an adapter of norms', /\.[wb]_norm$/],
  ['an embedding that is bundled with a LoRA', /^bundle_emb\./],
  ['a difference of whole weights', /\.diff(_b)?$|\.set_weight$/],
  ['a ControlNet-LoRA', /^lora_controlnet$/],
];

/** The name of another kind of adapter that a key belongs to; null where it belongs to none. */
export const otherKind = (key: string): string | null => OTHER_KINDS.find(([, pattern]) => pattern.test(key))?.[0] ?? null;
