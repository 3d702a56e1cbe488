/** The last four words drawn, and by which generator: a batch makes thousands of these, and so those of a run share one array. */
class Block {
  readonly words = new Int32Array(4);
  owner: RandomGenerator | null = null;
}

/**
 * Counter-based random numbers: Philox 4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
 * A stream is named by four words; its values depend on the name and the seed alone, never on the order of drawing.
 */
export class RandomGenerator {
  /** Blocks of four words begun, and words used of the last. */
  private count = 0;
  /** What names the stream, for a device that draws by itself. */
  readonly stream: readonly [number, number, number];
  readonly key: readonly [number, number];
  private used = 4;

  constructor(
    key: readonly [number, number],
    stream: readonly [number, number, number],
    private readonly block = new Block(),
  ) {
    this.key = key;
    this.stream = stream;
  }

  private word(): number {
    const { block } = this;
    if (this.used === 4) {
      this.count++;
      this.used = 0;
    } else if (block.owner === this) return block.words[this.used++];
    const [a, b, c] = this.stream;
    philox(this.count - 1, a, b, c, this.key[0], this.key[1], block.words);
    block.owner = this;
    return block.words[this.used++];
  }

  /** A float32 in [0, 1). */
  uniform(): number {
    return (this.word() >>> 8) / 16777216;
  }

  /** An integer in [0, below). Unbiased enough for any `below` under 2^21 (53 bits are used). */
  integer(below: number): number {
    const high = this.word() >>> 6;
    const low = this.word() >>> 5;
    return Math.floor(((high * 134217728 + low) / 9007199254740992) * below);
  }

  /**
   * Fills `out` with standard normal numbers and returns it: Box and Muller's transform, four numbers a block. The angle is
   * taken within an eighth of a turn, where short series are exact to float32, and turned by quarters afterwards; the
   * offset this leaves is the same for all angles, and so does not matter.
   */
  normals(out: Float32Array): Float32Array {
    const [a, b, c] = this.stream;
    const [k0, k1] = this.key;
    this.block.owner = null;
    const block = this.block.words;
    for (let i = 0; i < out.length; i += 4) {
      philox(this.count++, a, b, c, k0, k1, block);
      for (let j = 0; j < 4 && i + j < out.length; j += 2) {
        const radius = Math.sqrt(-2 * Math.log(((block[j] >>> 8) + 0.5) / 16777216));
        const word = block[j + 1];
        const x = ((word & 0x3fffffff) / 1073741824 - 0.5) * (Math.PI / 2);
        const xx = x * x;
        const sin = x * (1 + xx * (-1 / 6 + xx * (1 / 120 + xx * (-1 / 5040 + xx / 362880))));
        const cos = 1 + xx * (-1 / 2 + xx * (1 / 24 + xx * (-1 / 720 + xx * (1 / 40320 - xx / 3628800))));
        const odd = (word & 0x40000000) !== 0;
        const sign = word < 0 ? -radius : radius;
        out[i + j] = sign * (odd ? -sin : cos);
        if (i + j + 1 < out.length) out[i + j + 1] = sign * (odd ? cos : sin);
      }
    }
    this.used = 4;
    return out;
  }

  /** Fills `out` with uniform numbers in [from, to) and returns it. */
  uniforms(out: Float32Array, from = 0, to = 1): Float32Array {
    for (let i = 0; i < out.length; i++) out[i] = from + (to - from) * this.uniform();
    return out;
  }

  /** The numbers 0..n-1 in random order (Fisher and Yates). */
  permutation(n: number): Int32Array {
    const order = Int32Array.from({ length: n }, (_, i) => i);
    for (let i = n - 1; i > 0; i--) {
      const j = this.integer(i + 1);
      [order[i], order[j]] = [order[j], order[i]];
    }
    return order;
  }
}

/** The high word of a 32 x 32 bit product, from 16-bit halves: all in integers, which is what makes this fast. */
function mulHigh(a: number, b: number): number {
  const aLow = a & 0xffff;
  const aHigh = a >>> 16;
  const bLow = b & 0xffff;
  const bHigh = b >>> 16;
  const across = Math.imul(aLow, bHigh) >>> 0;
  const back = Math.imul(aHigh, bLow) >>> 0;
  const middle = ((Math.imul(aLow, bLow) >>> 16) + (across & 0xffff) + (back & 0xffff)) | 0;
  return (Math.imul(aHigh, bHigh) + (across >>> 16) + (back >>> 16) + (middle >>> 16)) | 0;
}

function philox(n0: number, n1: number, n2: number, n3: number, key0: number, key1: number, out: Int32Array): void {
  let [c0, c1, c2, c3, k0, k1] = [n0 | 0, n1 | 0, n2 | 0, n3 | 0, key0 | 0, key1 | 0];
  for (let round = 0; round < 10; round++) {
    const high0 = mulHigh(0xd2511f53, c0);
    const high1 = mulHigh(0xcd9e8d57, c2);
    const low0 = Math.imul(0xd2511f53, c0);
    const low1 = Math.imul(0xcd9e8d57, c2);
    c0 = high1 ^ c1 ^ k0;
    c1 = low1;
    c2 = high0 ^ c3 ^ k1;
    c3 = low0;
    k0 = (k0 + 0x9e3779b9) | 0;
    k1 = (k1 + 0xbb67ae85) | 0;
  }
  out[0] = c0;
  out[1] = c1;
  out[2] = c2;
  out[3] = c3;
}

/** A 32-bit hash of a string (FNV-1a, then murmur3's finisher), for naming streams. */
export function hashName(name: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193);
  hash ^= hash >>> 16;
  hash = Math.imul(hash, 0x85ebca6b);
  hash ^= hash >>> 13;
  hash = Math.imul(hash, 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/** Role RANDOM: where every random draw of a run comes from: a pure function of the seed and of what names it. */
export interface Random {
  /** The draw `name` of example `id` in `epoch`. */
  item(name: string, epoch: number, id: number): RandomGenerator;
  /** The draw `name` of a microBatch: of layers (dropout). */
  micro(name: string, step: number, micro: number): RandomGenerator;
  /** A draw of the run itself: initial weights, an epoch's order. */
  named(name: string, index?: number): RandomGenerator;
}

/** Random draws from a seed. Streams of items, microBatches and names never meet: the key's second word tells them apart. */
export function seededRandom(seed: number): Random {
  const low = seed >>> 0;
  const high = Math.floor(seed / 4294967296) >>> 0;
  const key = (kind: number): [number, number] => [low, (high ^ Math.imul(kind, 0x9e3779b1)) >>> 0];
  const [items, micros, names] = [key(1), key(2), key(3)];
  const block = new Block();
  return {
    item: (name, epoch, id) => new RandomGenerator(items, [hashName(name), epoch, id], block),
    micro: (name, step, micro) => new RandomGenerator(micros, [hashName(name), step, micro], block),
    named: (name, index = 0) => new RandomGenerator(names, [hashName(name), index, 0], block),
  };
}
