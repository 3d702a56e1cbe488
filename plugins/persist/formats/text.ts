/**
 * The text of a file: UTF-8, strictly, or UTF-16 where its mark says so; the mark itself is left out. Null where the bytes are neither: read as
 * something else they would give other letters without a word. So would UTF-16 without its mark, whose zero bytes are characters in UTF-8, but of no text.
 */
export function decodeText(bytes: Uint8Array): string | null {
  const [first, second] = bytes;
  const encoding = first === 0xff && second === 0xfe ? 'utf-16le' : first === 0xfe && second === 0xff ? 'utf-16be' : 'utf-8';
  try {
    const text = new TextDecoder(encoding, { fatal: true }).decode(bytes);
    return text.includes('\0') ? null : text;
  } catch {
    return null;
  }
}
