/**
 * Counter-based random numbers: Philox 4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
 * A stream is named by four words; its values depend on the name and the seed alone, never on the order of drawing.
 */
export class Generator {
  private readonly counter: [number, number, number, number];
  private readonly key: readonly [number, number];
  private readonly block = new Uint32Array(4);
  private used = 4;

  constructor(key: readonly [number, number], stream: readonly [number, number, number]) {
    this.key = key;
    this.counter = [0, stream[0] >>> 0, stream[1] >>> 0, stream[2] >>> 0];
  }

  private word(): number {
    if (this.used === 4) {
      philox(this.counter, this.key, this.block);
      this.counter[0] = (this.counter[0] + 1) >>> 0;
      this.used = 0;
    }
    return this.block[this.used++];
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

  /** Fills `out` with standard normal numbers (Box and Muller's transform) and returns it. */
  normals(out: Float32Array): Float32Array {
    for (let i = 0; i < out.length; i += 2) {
      const radius = Math.sqrt(-2 * Math.log(1 - this.uniform()));
      const angle = 2 * Math.PI * this.uniform();
      out[i] = radius * Math.cos(angle);
      if (i + 1 < out.length) out[i + 1] = radius * Math.sin(angle);
    }
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

/** High and low words of a 32 x 32 bit product, in the 16-bit pieces that Math.imul and doubles can hold. */
function mulHigh(a: number, b: number): number {
  const aLow = a & 0xffff;
  const aHigh = a >>> 16;
  const bLow = b & 0xffff;
  const bHigh = b >>> 16;
  const middle = aHigh * bLow + ((aLow * bLow) >>> 16);
  const carry = aLow * bHigh + (middle & 0xffff);
  return (aHigh * bHigh + Math.floor(middle / 65536) + Math.floor(carry / 65536)) >>> 0;
}

function philox(counter: readonly number[], key: readonly [number, number], out: Uint32Array): void {
  let [c0, c1, c2, c3] = counter;
  let [k0, k1] = key;
  for (let round = 0; round < 10; round++) {
    const high0 = mulHigh(0xd2511f53, c0);
    const low0 = Math.imul(0xd2511f53, c0) >>> 0;
    const high1 = mulHigh(0xcd9e8d57, c2);
    const low1 = Math.imul(0xcd9e8d57, c2) >>> 0;
    c0 = (high1 ^ c1 ^ k0) >>> 0;
    c1 = low1;
    c2 = (high0 ^ c3 ^ k1) >>> 0;
    c3 = low0;
    k0 = (k0 + 0x9e3779b9) >>> 0;
    k1 = (k1 + 0xbb67ae85) >>> 0;
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

/** Role RANDOM: where every random draw of a run comes from (DESIGN: a pure function of what names it). */
export interface Random {
  /** The draw `name` of example `id` in `epoch`. */
  item(name: string, epoch: number, id: number): Generator;
  /** The draw `name` of a microBatch: of layers (dropout). */
  micro(name: string, step: number, micro: number): Generator;
  /** A draw of the run itself: initial weights, an epoch's order. */
  named(name: string, index?: number): Generator;
}

/** Random draws from a seed. Streams of items, microBatches and names never meet: the key's second word tells them apart. */
export function seededRandom(seed: number): Random {
  const low = seed >>> 0;
  const high = Math.floor(seed / 4294967296) >>> 0;
  const key = (kind: number): [number, number] => [low, (high ^ Math.imul(kind, 0x9e3779b1)) >>> 0];
  const [items, micros, names] = [key(1), key(2), key(3)];
  return {
    item: (name, epoch, id) => new Generator(items, [hashName(name), epoch, id]),
    micro: (name, step, micro) => new Generator(micros, [hashName(name), step, micro]),
    named: (name, index = 0) => new Generator(names, [hashName(name), index, 0]),
  };
}
