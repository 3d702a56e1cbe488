import type { StoredTensor, StoredTensors } from '../stored-tensors.js';
import { homeless } from './homeless.js';
import { reshaped, squeezed } from './transforms.js';

/** The projections and the norm of the attention, which are 1 x 1 convolutions in single files. */
const ATTENTION = [
  ['norm', 'group_norm'],
  ['q', 'to_q'],
  ['k', 'to_k'],
  ['v', 'to_v'],
  ['proj_out', 'to_out.0'],
] as const;
const THEIRS: ReadonlyMap<string, string> = new Map(ATTENTION.map(([theirs, ours]) => [ours, theirs]));
const OURS: ReadonlyMap<string, string> = new Map(ATTENTION);
const PROJECTION = /\.mid_block\.attentions\.0\.to_(q|k|v|out\.0)\.weight$/;

/** How many blocks the decoder has, by the pattern of their names. */
const levelsOf = (names: Iterable<string>, pattern: RegExp): number =>
  Math.max(0, ...[...names].map((name) => Number(pattern.exec(name)?.[1] ?? -1) + 1));

/** An autoencoder's tensors under diffusers' names, from those of a single file; both without a prefix. The decoder's blocks are counted from the other end there. */
export function vaeFromSingleFile(tensors: StoredTensors): StoredTensors {
  const levels = levelsOf(tensors.keys(), /^decoder\.up\.(\d+)\./);
  const named = new Map<string, StoredTensor>();
  for (const [theirs, stored] of tensors) {
    const name = theirs
      .replace(/^encoder\.down\.(\d+)\.block\./, 'encoder.down_blocks.$1.resnets.')
      .replace(/^encoder\.down\.(\d+)\.downsample\./, 'encoder.down_blocks.$1.downsamplers.0.')
      .replace(/^decoder\.up\.(\d+)\.block\./, (_, i) => `decoder.up_blocks.${levels - 1 - i}.resnets.`)
      .replace(/^decoder\.up\.(\d+)\.upsample\./, (_, i) => `decoder.up_blocks.${levels - 1 - i}.upsamplers.0.`)
      .replace(/^(encoder|decoder)\.mid\.block_([12])\./, (_, side, i) => `${side}.mid_block.resnets.${i - 1}.`)
      .replace(
        /^(encoder|decoder)\.mid\.attn_1\.(norm|q|k|v|proj_out)\./,
        (_, side, part) => `${side}.mid_block.attentions.0.${OURS.get(part)}.`,
      )
      .replace(/\.nin_shortcut\./, '.conv_shortcut.')
      .replace(/^(encoder|decoder)\.norm_out\./, '$1.conv_norm_out.');
    named.set(name, PROJECTION.test(name) ? squeezed(stored) : stored);
  }
  return named;
}

const KNOWN =
  /^((encoder\.(down\.|mid\.|conv_in\.|conv_out\.|norm_out\.)|decoder\.(up\.|mid\.|conv_in\.|conv_out\.|norm_out\.))|quant_conv\.|post_quant_conv\.)/;

/** The other way: undoes {@link vaeFromSingleFile}; WEIGHTS_MISMATCH for a tensor that has no place in a single file. */
export function vaeToSingleFile(tensors: StoredTensors): StoredTensors {
  const levels = levelsOf(tensors.keys(), /^decoder\.up_blocks\.(\d+)\./);
  const named = new Map<string, StoredTensor>();
  for (const [name, stored] of tensors) {
    const theirs = name
      .replace(/^encoder\.down_blocks\.(\d+)\.resnets\./, 'encoder.down.$1.block.')
      .replace(/^encoder\.down_blocks\.(\d+)\.downsamplers\.0\./, 'encoder.down.$1.downsample.')
      .replace(/^decoder\.up_blocks\.(\d+)\.resnets\./, (_, i) => `decoder.up.${levels - 1 - i}.block.`)
      .replace(/^decoder\.up_blocks\.(\d+)\.upsamplers\.0\./, (_, i) => `decoder.up.${levels - 1 - i}.upsample.`)
      .replace(/^(encoder|decoder)\.mid_block\.resnets\.([01])\./, (_, side, i) => `${side}.mid.block_${Number(i) + 1}.`)
      .replace(
        /^(encoder|decoder)\.mid_block\.attentions\.0\.(group_norm|to_q|to_k|to_v|to_out\.0)\./,
        (_, side, part) => `${side}.mid.attn_1.${THEIRS.get(part)}.`,
      )
      .replace(/\.conv_shortcut\./, '.nin_shortcut.')
      .replace(/^(encoder|decoder)\.conv_norm_out\./, '$1.norm_out.');
    if (!KNOWN.test(theirs)) homeless(name, stored);
    named.set(theirs, PROJECTION.test(name) ? reshaped(stored, [...stored.shape, 1, 1]) : stored);
  }
  return named;
}
