import type { StoredTensor, StoredTensors } from '../stored-tensors.js';
import { todaysName } from '../todays-names.js';
import { homeless } from './homeless.js';
import { joined, partOf, transposed } from './transforms.js';

/** Of OpenCLIP's 24 blocks, Stable Diffusion 2 uses the states behind the 23rd: the last one is in its files, and in no config. */
const LAYERS_OF_SD2 = 23;

/** transformers' CLIP: single files have it under its names, those of before 5. */
export const clipFromSingleFile = (tensors: StoredTensors): StoredTensors =>
  new Map([...tensors].map(([name, stored]): [string | null, typeof stored] => [todaysName(name), stored]).filter(isNamed));

const isNamed = <T>(entry: [string | null, T]): entry is [string, T] => entry[0] !== null;

/** The other way. */
export const clipToSingleFile = (tensors: StoredTensors): StoredTensors =>
  new Map([...tensors].map(([name, stored]) => [`text_model.${name}`, stored]));

/** OpenCLIP's names of what stands by itself, and of the modules of a block. */
const ALONE = [
  ['positional_embedding', 'embeddings.position_embedding.weight'],
  ['token_embedding.weight', 'embeddings.token_embedding.weight'],
  ['ln_final.weight', 'final_layer_norm.weight'],
  ['ln_final.bias', 'final_layer_norm.bias'],
] as const;
const IN_BLOCKS = [
  ['ln_1', 'layer_norm1'],
  ['ln_2', 'layer_norm2'],
  ['mlp.c_fc', 'mlp.fc1'],
  ['mlp.c_proj', 'mlp.fc2'],
  ['attn.out_proj', 'self_attn.out_proj'],
] as const;
const [TO_ALONE, TO_BLOCKS] = [ALONE, IN_BLOCKS].map((pairs) => new Map<string, string>(pairs));
const [FROM_ALONE, FROM_BLOCKS] = [ALONE, IN_BLOCKS].map((pairs) => new Map<string, string>(pairs.map(([theirs, ours]) => [ours, theirs])));
/** in_proj holds these, one behind the other. */
const PROJECTIONS = ['q_proj', 'k_proj', 'v_proj'];
const CONSTANTS = ['logit_scale', 'attn_mask'];

/**
 * OpenCLIP's text encoder under transformers' names: in_proj split, text_projection transposed. `projection` says whether the model has the latter, as
 * SDXL's does; Stable Diffusion 2's leaves out that and its last block. What has no place keeps its name.
 */
export function openClipFromSingleFile(tensors: StoredTensors, projection: boolean): StoredTensors {
  const named = new Map<string, StoredTensor>();
  for (const [name, stored] of tensors) {
    const [, block, module, what] = /^transformer\.resblocks\.(\d+)\.(.+?)[._](weight|bias)$/.exec(name) ?? [];
    if (CONSTANTS.includes(name)) continue;
    if (!projection && (name === 'text_projection' || Number(block) >= LAYERS_OF_SD2)) continue;
    const layer = `encoder.layers.${block}`;
    if (name === 'text_projection') named.set('text_projection.weight', transposed(stored));
    else if (module === 'attn.in_proj')
      for (const [i, part] of PROJECTIONS.entries()) named.set(`${layer}.self_attn.${part}.${what}`, partOf(stored, i, PROJECTIONS.length));
    else if (module && TO_BLOCKS.has(module)) named.set(`${layer}.${TO_BLOCKS.get(module)}.${what}`, stored);
    else named.set(TO_ALONE.get(name) ?? name, stored);
  }
  return named;
}

/** The other way: undoes {@link openClipFromSingleFile}, what that left out aside; WEIGHTS_MISMATCH for a tensor that has no place in a single file. */
export function openClipToSingleFile(tensors: StoredTensors): StoredTensors {
  const named = new Map<string, StoredTensor>();
  for (const [name, stored] of tensors) {
    const [, block, module, what] = /^encoder\.layers\.(\d+)\.(.+)\.(weight|bias)$/.exec(name) ?? [];
    const theirs = `transformer.resblocks.${block}`;
    if (name === 'text_projection.weight') named.set('text_projection', transposed(stored));
    else if (module === 'self_attn.q_proj') {
      const all = PROJECTIONS.map((part) => `encoder.layers.${block}.self_attn.${part}.${what}`);
      named.set(`${theirs}.attn.in_proj_${what}`, joined(all.map((one) => tensors.get(one) ?? homeless(name, stored))));
    } else if (module === 'self_attn.k_proj' || module === 'self_attn.v_proj') continue;
    else if (module && FROM_BLOCKS.has(module)) named.set(`${theirs}.${FROM_BLOCKS.get(module)}.${what}`, stored);
    else named.set(FROM_ALONE.get(name) ?? homeless(name, stored), stored);
  }
  return named;
}
