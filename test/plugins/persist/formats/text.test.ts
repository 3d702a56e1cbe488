import { expect, test } from 'vitest';
import { decodeText } from '../../../../plugins/persist/formats/text.js';

const text = 'ein Käfer, ねこ, 🐞';
const utf16 = (big: boolean) => {
  const bytes = new Uint8Array(2 + 2 * text.length);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, 0xfeff, !big);
  for (let i = 0; i < text.length; i++) view.setUint16(2 + 2 * i, text.charCodeAt(i), !big);
  return bytes;
};

test('UTF-8 with and without a mark, and UTF-16 by its mark, are the same text', () => {
  const utf8 = new TextEncoder().encode(text);
  expect(decodeText(utf8)).toBe(text);
  expect(decodeText(Uint8Array.of(0xef, 0xbb, 0xbf, ...utf8))).toBe(text);
  expect(decodeText(utf16(false))).toBe(text);
  expect(decodeText(utf16(true))).toBe(text);
  expect(decodeText(new Uint8Array(0))).toBe('');
});

test('other encodings are not guessed', () => {
  // "Käfer" in latin-1, "猫" in GBK, a UTF-8 sequence that is cut off, half a surrogate pair, and UTF-16 without its mark.
  for (const bytes of [
    [0x4b, 0xe4, 0x66],
    [0xc3, 0xa8, 0xb2],
    [0xe7, 0x8c],
    [0xff, 0xfe, 0x00, 0xd8],
    [0x74, 0x00, 0x68, 0x00, 0x65, 0x00],
  ])
    expect(decodeText(Uint8Array.from(bytes)), String(bytes)).toBeNull();
});
