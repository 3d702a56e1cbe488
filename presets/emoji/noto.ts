import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { fail, messageOf, type Random, seededRandom } from '../../core/index.js';

/** One emoji: its name as a caption, its category, and how it looks. */
export interface Emoji {
  readonly name: string;
  readonly caption: string;
  readonly category: string;
  /** Its pixels, side x side x 3 in [0, 1], drawn anew: means of what is drawn `supersampling` times as large, 4 by default. */
  draw(supersampling?: number): Float32Array;
}

interface IconSet {
  readonly icons: Record<string, { body: string; width?: number; height?: number; left?: number; top?: number }>;
  readonly width?: number;
  readonly height?: number;
}

/** The renderer ends the whole process on these two. */
const UNRENDERABLE = new Set(['rainbow-flag', 'package']);

/** Categories and names that are no things: people in roles, symbols, flags, clocks, buttons. */
const isIcon = (name: string, category: string): boolean =>
  !/flag|symbol/i.test(category) &&
  !/^flag|-flag$|clock|-thirty$|button|keycap|^(man|woman|person|men|women|people|family|couple|kiss-|boy|girl|child|baby-|mrs|mx-)|-(man|woman|men|women|person)$|-(man|woman)-|japanese-|^input-|zodiac/.test(
    name,
  ) &&
  !ROLES.has(name);
const ROLES = new Set(
  'artist astronaut cook detective factory-worker farmer firefighter guard health-worker judge mechanic ninja office-worker pilot police-officer prince princess scientist singer student teacher technologist construction-worker superhero supervillain mage fairy vampire merperson elf genie zombie troll santa-claus older-person old-man old-woman pregnant-man pregnant-person pregnant-woman breast-feeding deaf-person mermaid merman'.split(
    ' ',
  ),
);

/**
 * Noto's emoji (@iconify-json/noto, Apache-2.0), rendered on white and box-filtered from four times the size. Skin tones
 * are left out. `which` takes all of them, or the icons the base model knows. The order is that of their names. `pack` is another set of Iconify's with the same names.
 */
export async function renderEmoji(which: 'all' | 'icons', side = 32, pack = '@iconify-json/noto'): Promise<Emoji[]> {
  const require = createRequire(import.meta.url);
  const load = async <T>(file: string): Promise<T> => {
    try {
      return JSON.parse(await readFile(require.resolve(`${pack}/${file}`), 'utf8')) as T;
    } catch (error) {
      return fail(
        'DATA_MISSING',
        'emoji',
        `${pack}/${file} cannot be read (${messageOf(error).split('\n')[0]})`,
        `npm install ${pack}.`,
        error,
      );
    }
  };
  const [set, metadata] = [await load<IconSet>('icons.json'), await load<{ categories: Record<string, string[]> }>('metadata.json')];
  const { Resvg } = await import('@resvg/resvg-js');
  const categoryOf = new Map<string, string>();
  for (const [category, names] of Object.entries(metadata.categories)) for (const name of names) categoryOf.set(name, category);
  const names = Object.keys(set.icons)
    .filter((name) => categoryOf.has(name) && !UNRENDERABLE.has(name) && !/skin-tone/.test(name))
    .filter((name) => which === 'all' || isIcon(name, categoryOf.get(name) as string))
    .sort();
  const draw = (name: string, supersampling: number): Float32Array => {
    const icon = set.icons[name];
    const [w, h] = [icon.width ?? set.width ?? 128, icon.height ?? set.height ?? 128];
    const size = Math.max(w, h);
    const box = `${(icon.left ?? 0) - (size - w) / 2} ${(icon.top ?? 0) - (size - h) / 2} ${size} ${size}`;
    const svg = `<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="${box}">${icon.body}</svg>`;
    const fitTo = { mode: 'width', value: side * supersampling } as const;
    return boxFilter(new Resvg(svg, { fitTo, background: 'white', font: { loadSystemFonts: false } }).render().pixels, side, supersampling);
  };
  return names.map((name) => ({
    name,
    caption: name.replaceAll('-', ' '),
    category: categoryOf.get(name) as string,
    draw: (supersampling = 4) => draw(name, supersampling),
  }));
}

/** Means of squares of `across` x `across`, added up in 32 bits row by row. */
function boxFilter(rgba: Uint8Array, side: number, across: number): Float32Array {
  const out = new Float32Array(side * side * 3);
  const row = 4 * side * across;
  // What a colour of 0 to 255 adds to the mean.
  const share = Float64Array.from({ length: 256 }, (_, value) => value / (255 * across ** 2));
  for (let y = 0; y < side; y++)
    for (let x = 0; x < side; x++)
      for (let k = 0; k < 3; k++) {
        const corner = across * (y * row + 4 * x) + k;
        let sum = 0;
        for (let dy = 0; dy < across; dy++)
          for (let dx = 0; dx < across; dx++) sum = Math.fround(sum + share[rgba[corner + dy * row + 4 * dx]]);
        out[(y * side + x) * 3 + k] = sum;
      }
  return out;
}

const DARK = [0.02, 0.06, 0.3];
const BLUE = [0.16, 0.42, 0.85];

/** So many pixels of a side for one of the line's width. */
const EDGE = 128 / 3;

/** The least of each pixel and its four neighbours. */
function eroded(mask: Float32Array, side: number): Float32Array {
  const out = new Float32Array(mask.length);
  for (let y = 0; y < side; y++)
    for (let x = 0; x < side; x++) {
      const i = y * side + x;
      out[i] = Math.min(
        mask[i],
        mask[y > 0 ? i - side : i],
        mask[y < side - 1 ? i + side : i],
        mask[x > 0 ? i - 1 : i],
        mask[x < side - 1 ? i + 1 : i],
      );
    }
  return out;
}

/** An emoji in the style of Delft's tiles: dark blue over blue to white by luma, with a dark line along the silhouette. */
export function delft(pixels: Float32Array): Float32Array {
  const side = Math.sqrt(pixels.length / 3);
  const mask = new Float32Array(side * side);
  for (let i = 0; i < mask.length; i++)
    mask[i] = Math.min(1, Math.max(0, 4 * (1 - Math.min(pixels[3 * i], pixels[3 * i + 1], pixels[3 * i + 2]))));
  let inner: Float32Array = mask;
  for (let k = 0; k < Math.max(1, Math.round(side / EDGE)); k++) inner = eroded(inner, side);
  const out = new Float32Array(pixels.length);
  for (let y = 0; y < side; y++)
    for (let x = 0; x < side; x++) {
      const i = y * side + x;
      const edge = mask[i] - inner[i];
      const luma = 0.299 * pixels[3 * i] + 0.587 * pixels[3 * i + 1] + 0.114 * pixels[3 * i + 2];
      for (let k = 0; k < 3; k++) {
        const colour = luma < 0.45 ? DARK[k] + ((BLUE[k] - DARK[k]) * luma) / 0.45 : BLUE[k] + ((1 - BLUE[k]) * (luma - 0.45)) / 0.55;
        out[3 * i + k] = colour * (1 - edge) + DARK[k] * edge;
      }
    }
  return out;
}

/** Splits emoji for the style job: `train` to learn the style from, `held` to judge it by, both spread over the categories. */
export function splitEmoji(
  all: readonly Emoji[],
  train: number,
  held: number,
  random: Random = seededRandom(0),
): { train: Emoji[]; held: Emoji[] } {
  const byCategory = new Map<string, Emoji[]>();
  const order = random.named('split').permutation(all.length);
  for (const i of order) byCategory.set(all[i].category, [...(byCategory.get(all[i].category) ?? []), all[i]]);
  // Taking turns by how much of a category is used up gives each its share.
  const spread = [...byCategory.values()]
    .flatMap((list) => list.map((emoji, i) => ({ emoji, share: (i + 0.5) / list.length })))
    .sort((a, b) => a.share - b.share || (a.emoji.name < b.emoji.name ? -1 : 1));
  const chosen = spread.map(({ emoji }) => emoji);
  return { train: chosen.slice(0, train), held: chosen.slice(train, train + held) };
}
