/**
 * A 64-bit hash of numbers as 16 hexadecimal digits, to tell whether two machines hold the same bits: two lanes that multiply
 * and rotate each word of 32 bits, as murmur3 (Appleby) mixes them. Not for secrets.
 */
export class Hash {
  private a = 0x9e3779b9;
  private b = 0x85ebca6b;

  add({ buffer, byteOffset, byteLength }: ArrayBufferView): this {
    let { a, b } = this;
    const mix = (word: number) => {
      const k = Math.imul(word, 0xcc9e2d51);
      a ^= Math.imul((k << 15) | (k >>> 17), 0x1b873593);
      a = (Math.imul((a << 13) | (a >>> 19), 5) + 0xe6546b64) | 0;
      b = Math.imul(b ^ word, 0x01000193);
      b ^= b >>> 15;
    };
    mix(byteLength);
    const whole = Math.floor(byteLength / 4);
    if (byteOffset % 4 === 0) {
      const words = new Uint32Array(buffer, byteOffset, whole);
      for (let i = 0; i < whole; i++) mix(words[i]);
    } else {
      const view = new DataView(buffer, byteOffset, byteLength);
      for (let i = 0; i < whole; i++) mix(view.getUint32(4 * i, true));
    }
    const rest = new Uint8Array(buffer, byteOffset + 4 * whole, byteLength - 4 * whole);
    for (const byte of rest) mix(byte);
    [this.a, this.b] = [a, b];
    return this;
  }

  /** The hash of all that was added so far, in its order. */
  digest(): string {
    const finish = (h: number) => {
      h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
      h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
      return ((h ^ (h >>> 16)) >>> 0).toString(16).padStart(8, '0');
    };
    return finish(this.a) + finish(this.b);
  }
}

/** The {@link Hash} of these numbers, one array behind the other. */
export const hashOf = (...arrays: readonly ArrayBufferView[]): string =>
  arrays.reduce((hash: Hash, array) => hash.add(array), new Hash()).digest();

/** The same of a text. */
export const hashOfText = (text: string): string => hashOf(new TextEncoder().encode(text));
