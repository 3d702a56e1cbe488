/**
 * The text of a file: UTF-8, strictly, or UTF-16 where its mark says so; the mark itself is left out. Null where the bytes are neither: read as
 * something else they would give other letters without a word.
 */
export function decodeText(bytes: Uint8Array): string | null {
  const [first, second] = bytes;
  const encoding = first === 0xff && second === 0xfe ? 'utf-16le' : first === 0xfe && second === 0xff ? 'utf-16be' : 'utf-8';
  try {
    return new TextDecoder(encoding, { fatal: true }).decode(bytes);
  } catch {
    return null;
  }
}
