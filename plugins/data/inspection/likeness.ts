import type { Sharp } from 'sharp';

/** What a picture looks like, in a few bytes: of two that were scaled, compressed or lightened a little, nearly the same. */
export interface Likeness {
  /** Whether each of 8 x 8 places is darker than its neighbour to the right, in two words (difference hash, Krawetz 2013). */
  readonly gradients: readonly [number, number];
  /** The picture at 9 x 8 pixels, red, green and blue: where a picture is flat, gradients tell little. */
  readonly small: Uint8Array;
}

const [WIDTH, HEIGHT] = [9, 8];
/** So much darker counts, in thousandths of 255: less is noise of flat places. */
const MARGIN = 4000;
/** Bits in which alike pictures may differ; no more than 7, so that two of them have one byte of eight in common. */
const BITS = 6;
/** And by how much their small ones may on average, of 255. */
const DIFFERENCE = 8;

/** Looks at a picture as sharp has opened it. */
export async function likenessOf(picture: Sharp): Promise<Likeness> {
  const small = await picture
    .rotate()
    .flatten({ background: 'white' })
    .toColourspace('srgb')
    .resize({ width: WIDTH, height: HEIGHT, fit: 'fill', fastShrinkOnLoad: false })
    .removeAlpha()
    .raw()
    .toBuffer();
  // ITU-R BT.601, in thousandths.
  const grey = (at: number) => 299 * small[3 * at] + 587 * small[3 * at + 1] + 114 * small[3 * at + 2];
  const gradients: [number, number] = [0, 0];
  for (let y = 0; y < HEIGHT; y++)
    for (let x = 0; x < WIDTH - 1; x++) {
      const at = y * WIDTH + x;
      if (grey(at) + MARGIN < grey(at + 1)) gradients[y >> 2] |= 1 << ((y & 3) * 8 + x);
    }
  return { gradients, small: new Uint8Array(small) };
}

function bits(word: number): number {
  let count = 0;
  for (let left = word; left !== 0; left &= left - 1) count++;
  return count;
}

function isAlike(a: Likeness, b: Likeness): boolean {
  if (bits(a.gradients[0] ^ b.gradients[0]) + bits(a.gradients[1] ^ b.gradients[1]) > BITS) return false;
  let left = DIFFERENCE * a.small.length;
  for (let i = 0; i < a.small.length && left >= 0; i++) left -= Math.abs(a.small[i] - b.small[i]);
  return left >= 0;
}

/** Groups of alike pictures, by their places; each is like another of its group. Only those with a byte in common are compared. */
export function alike(pictures: readonly Likeness[]): number[][] {
  const parent = pictures.map((_, i) => i);
  const root = (i: number): number => {
    let at = i;
    while (parent[at] !== at) at = parent[at] = parent[parent[at]];
    return at;
  };
  const byteOf = ({ gradients }: Likeness, place: number) => (gradients[place >> 2] >>> ((place & 3) * 8)) & 255;
  /** Whether two have a byte in common before this place: they have been compared. */
  const haveMet = (a: Likeness, b: Likeness, place: number) => {
    for (let before = 0; before < place; before++) if (byteOf(a, before) === byteOf(b, before)) return true;
    return false;
  };
  const withByte = Array.from({ length: 8 * 256 }, (): number[] => []);
  for (const [i, picture] of pictures.entries())
    for (let place = 0; place < 8; place++) {
      const others = withByte[256 * place + byteOf(picture, place)];
      for (const other of others)
        if (!haveMet(pictures[other], picture, place) && root(other) !== root(i) && isAlike(pictures[other], picture))
          parent[root(i)] = root(other);
      others.push(i);
    }
  const groups = new Map<number, number[]>();
  for (const i of pictures.keys()) groups.set(root(i), [...(groups.get(root(i)) ?? []), i]);
  return [...groups.values()].filter(({ length }) => length > 1);
}
