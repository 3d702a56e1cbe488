/** CRC-32 of PNG's chunks (ISO 3309, polynomial 0xedb88320). */
function crc32(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return (crc ^ 0xffffffff) >>> 0;
}

/** The signature and the header, with which every PNG begins. */
const BEFORE = 8 + 25;

/** A PNG with a text under a keyword: a tEXt chunk where the text is ASCII, else an iTXt chunk, which has UTF-8: of the former's Latin-1 some readers know nothing (PNG specification, 11.3.4). */
export function withText(png: Uint8Array, keyword: string, text: string): Uint8Array {
  const isPlain = [...text].every((letter) => (letter.codePointAt(0) as number) < 128);
  const body = isPlain
    ? Buffer.concat([Buffer.from(`tEXt${keyword}\0`, 'latin1'), Buffer.from(text, 'latin1')])
    : Buffer.concat([Buffer.from(`iTXt${keyword}\0\0\0\0\0`, 'latin1'), Buffer.from(text, 'utf8')]);
  const chunk = Buffer.alloc(body.length + 8);
  chunk.writeUInt32BE(body.length - 4, 0);
  body.copy(chunk, 4);
  chunk.writeUInt32BE(crc32(body), body.length + 4);
  return Buffer.concat([png.subarray(0, BEFORE), chunk, png.subarray(BEFORE)]);
}
