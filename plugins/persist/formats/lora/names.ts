import { compVisPaths } from '../compvis-paths.js';

/**
 * The component of Stable Diffusion that a module's path begins with, and the rest, text encoders' without the `text_model.` that some
 * versions put before it. Other models have no components: theirs is empty.
 */
export function splitPath(path: string): { component: string; rest: string } {
  const match = /^(unet|text_encoder(?:_2)?)\.(.+)$/.exec(path);
  if (!match) return { component: '', rest: path };
  const [, component, rest] = match;
  return { component, rest: component === 'unet' ? rest : rest.replace(/^text_model\./, '') };
}

/** What the single-file form calls the UNet's modules among `paths`, by their paths, without a prefix. */
export function compVisNames(paths: Iterable<string>): Map<string, string> {
  const inside = [...paths].filter((path) => path.startsWith('unet.')).map((path) => path.slice('unet.'.length));
  return new Map([...compVisPaths(inside)].map(([path, name]) => [`unet.${path}`, name]));
}

const underscored = (path: string): string => path.replaceAll('.', '_');

/** The path below its component with the `text_model.` that transformers had until 5, and that adapters' files have. */
export const withTextModel = (rest: string): string => (rest === 'text_projection' ? rest : `text_model.${rest}`);

/** What attention's four matrices were called in diffusers' first adapters, whatever the module calls them. */
const FIRST_NAMES: Readonly<Record<string, string>> = { q_proj: 'to_q', k_proj: 'to_k', v_proj: 'to_v', out_proj: 'to_out' };

/** Every name that files have for the modules at `paths`: diffusers' now and before, peft's, kohya's and the single file's. */
export function moduleNames(paths: Iterable<string>): Map<string, string> {
  const all = [...paths];
  const compVis = compVisNames(all);
  const names = new Map<string, string>();
  for (const path of all) {
    const { component, rest } = splitPath(path);
    const found: string[] = [path];
    if (component === 'unet') {
      const single = compVis.get(path);
      const short = rest.replace(/\.to_out\.0$/, '.to_out');
      const processed = short.replace(/\.(to_(?:q|k|v|out))$/, '.processor.$1');
      for (const name of [rest, short, processed]) found.push(name, `unet.${name}`);
      found.push(`lora_unet_${underscored(rest)}`);
      if (single) found.push(`lora_unet_${underscored(single)}`, `diffusion_model.${single}`);
    } else if (component !== '') {
      const old = rest.replace(/\.([qkv]|out)_proj$/, (_, letter) => `.${FIRST_NAMES[`${letter}_proj`]}`);
      const prefixes = component === 'text_encoder' ? ['lora_te', 'lora_te1'] : [component.replace('text_encoder_', 'lora_te')];
      for (const name of [rest, withTextModel(rest)]) {
        found.push(`${component}.${name}`, ...prefixes.map((prefix) => `${prefix}_${underscored(name)}`));
        // peft's files of one component bear no name of it.
        if (component === 'text_encoder') found.push(name);
      }
      for (const name of [old, withTextModel(old)]) found.push(`${component}.${name}`);
    }
    for (const name of found) names.set(name, path);
  }
  return names;
}
