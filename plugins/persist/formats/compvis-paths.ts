/** Modules that stand by themselves in a UNet. */
export const ALONE = new Map([
  ['conv_in', 'input_blocks.0.0'],
  ['time_embedding.linear_1', 'time_embed.0'],
  ['time_embedding.linear_2', 'time_embed.2'],
  ['add_embedding.linear_1', 'label_emb.0.0'],
  ['add_embedding.linear_2', 'label_emb.0.2'],
  ['conv_norm_out', 'out.0'],
  ['conv_out', 'out.2'],
]);

/** What a resnet is made of. Inside attentions the names are the same. */
export const IN_RESNETS = new Map([
  ['norm1', 'in_layers.0'],
  ['conv1', 'in_layers.2'],
  ['time_emb_proj', 'emb_layers.1'],
  ['norm2', 'out_layers.0'],
  ['conv2', 'out_layers.3'],
  ['conv_shortcut', 'skip_connection'],
]);

/** Where the resnets of each block begin in a list that runs through all blocks; `gap` more come between two blocks. */
function starts(counts: readonly number[], first: number, gap: number): number[] {
  const at: number[] = [];
  let next = first;
  for (const count of counts) {
    at.push(next);
    next += count + gap;
  }
  return at;
}

/**
 * What CompVis's and Stability's single files call the modules of a UNet that diffusers calls `paths` (both without a prefix, such as
 * `unet.` or `model.diffusion_model.`). The paths are those of a whole UNet: how many resnets a block has, and whether an upsampler
 * comes behind an attention, decides the numbers. A path that is none of a UNet's is left out.
 */
export function compVisPaths(paths: Iterable<string>): Map<string, string> {
  const all = [...paths];
  const resnets = (side: string): number[] => {
    const counts: number[] = [];
    for (const path of all) {
      const match = new RegExp(`^${side}_blocks\\.(\\d+)\\.resnets\\.(\\d+)\\.`).exec(path);
      if (match) counts[Number(match[1])] = Math.max(counts[Number(match[1])] ?? 0, Number(match[2]) + 1);
    }
    return Array.from(counts, (count) => count ?? 0);
  };
  const [downs, ups] = [resnets('down'), resnets('up')];
  // conv_in comes first; each downsampler stands behind the resnets of its block. Upsamplers share the place of their block's last resnet.
  const [inputs, outputs] = [starts(downs, 1, 1), starts(ups, 0, 0)];
  const attending = new Set(all.flatMap((path) => /^up_blocks\.(\d+)\.attentions\./.exec(path)?.[1] ?? []).map(Number));

  const place = (path: string): string | undefined => {
    const alone = ALONE.get(path);
    if (alone) return alone;
    const match = /^(?:(down|up)_blocks\.(\d+)|mid_block)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.+)$/.exec(path);
    if (!match) return undefined;
    const [, side, block, kind, index, rest] = match;
    const [i, j] = [Number(block), Number(index)];
    const inner = kind === 'resnets' ? IN_RESNETS.get(rest) : rest;
    if (inner === undefined) return undefined;
    if (side === undefined) return `middle_block.${kind === 'attentions' ? 1 : 2 * j}.${inner}`;
    if (kind === 'downsamplers') return `input_blocks.${inputs[i] + downs[i]}.0.op`;
    if (kind === 'upsamplers') return `output_blocks.${outputs[i] + ups[i] - 1}.${attending.has(i) ? 2 : 1}.${inner}`;
    return `${side === 'down' ? 'input' : 'output'}_blocks.${(side === 'down' ? inputs : outputs)[i] + j}.${kind === 'resnets' ? 0 : 1}.${inner}`;
  };
  return new Map(
    all.flatMap((path) => {
      const name = place(path);
      return name === undefined ? [] : [[path, name]];
    }),
  );
}
