import { ALONE, compVisPaths, IN_RESNETS } from '../compvis-paths.js';
import type { StoredTensors } from '../stored-tensors.js';
import { homeless } from './homeless.js';

const turned = (map: ReadonlyMap<string, string>): Map<string, string> => new Map([...map].map(([name, theirs]) => [theirs, name]));
const TO_ALONE = turned(ALONE);
const TO_RESNETS = turned(IN_RESNETS);

/** A tensor's module, and what it is there (weight, bias). */
const split = (name: string): [string, string] => [name.slice(0, name.lastIndexOf('.')), name.slice(name.lastIndexOf('.'))];

/** Where each of input_blocks or output_blocks belongs: a layer of a block; a downsampler is its block's end and no layer. */
function placesOf(names: ReadonlySet<string>, side: 'input' | 'output'): Map<number, { block: number; layer: number }> {
  const places = new Map<number, { block: number; layer: number }>();
  const numbers = new Set([...names].flatMap((name) => new RegExp(`^${side}_blocks\\.(\\d+)\\.`).exec(name)?.[1] ?? []).map(Number));
  let [block, layer] = [0, 0];
  for (const i of [...numbers].sort((a, b) => a - b)) {
    if (side === 'input' && i === 0) continue;
    places.set(i, { block, layer });
    const ends = side === 'input' ? ['0.op'] : ['1.conv', '2.conv'];
    if (ends.some((end) => names.has(`${side}_blocks.${i}.${end}.weight`))) [block, layer] = [block + 1, 0];
    else layer++;
  }
  return places;
}

/**
 * A UNet's tensors under diffusers' names, from those of a single file; both without a prefix. How many layers a block has follows from where the
 * downsamplers and upsamplers stand. What has no place in a UNet keeps its name.
 */
export function unetFromSingleFile(tensors: StoredTensors): StoredTensors {
  const names = new Set(tensors.keys());
  const places = { input: placesOf(names, 'input'), output: placesOf(names, 'output') };

  const moduleOf = (module: string): string | undefined => {
    const alone = TO_ALONE.get(module);
    if (alone) return alone;
    const middle = /^middle_block\.([012])\.(.+)$/.exec(module);
    if (middle?.[1] === '1') return `mid_block.attentions.0.${middle[2]}`;
    if (middle) return TO_RESNETS.has(middle[2]) ? `mid_block.resnets.${Number(middle[1]) / 2}.${TO_RESNETS.get(middle[2])}` : undefined;
    const [, side, index, slot, rest] = /^(input|output)_blocks\.(\d+)\.([012])\.(.+)$/.exec(module) ?? [];
    const place = side && places[side as 'input' | 'output'].get(Number(index));
    if (!place) return undefined;
    const block = `${side === 'input' ? 'down' : 'up'}_blocks.${place.block}`;
    if (side === 'input' && slot === '0' && rest === 'op') return `${block}.downsamplers.0.conv`;
    if (side === 'output' && slot !== '0' && rest === 'conv') return `${block}.upsamplers.0.conv`;
    if (slot === '0') return TO_RESNETS.has(rest) ? `${block}.resnets.${place.layer}.${TO_RESNETS.get(rest)}` : undefined;
    return slot === '1' ? `${block}.attentions.${place.layer}.${rest}` : undefined;
  };

  return new Map(
    [...tensors].map(([name, stored]) => {
      const [module, what] = split(name);
      const today = moduleOf(module);
      return [today === undefined ? name : today + what, stored];
    }),
  );
}

/** The other way: undoes {@link unetFromSingleFile}; WEIGHTS_MISMATCH for a tensor that has no place in a single file. */
export function unetToSingleFile(tensors: StoredTensors): StoredTensors {
  const paths = compVisPaths(new Set([...tensors.keys()].map((name) => split(name)[0])));
  return new Map(
    [...tensors].map(([name, stored]) => {
      const [module, what] = split(name);
      return [(paths.get(module) ?? homeless(name, stored)) + what, stored];
    }),
  );
}
