import { expect, test } from 'vitest';
import { fromFloat16, toFloat16 } from '../../../../plugins/persist/formats/float16.js';

test('float16 rounds to the nearest half, ties to even, both ways', () => {
  const cases: [number, number][] = [
    [0, 0],
    [1, 0x3c00],
    [-2, 0xc000],
    [65504, 0x7bff],
    [65520, 0x7c00],
    [1e9, 0x7c00],
    [Number.NEGATIVE_INFINITY, 0xfc00],
    [2 ** -14, 0x0400],
    [2 ** -24, 0x0001],
    [2 ** -25, 0x0000],
    [1.5 * 2 ** -25, 0x0001],
    [1 + 2 ** -11, 0x3c00],
    [1 + 3 * 2 ** -11, 0x3c02],
  ];
  expect([...toFloat16(cases.map(([x]) => x))]).toEqual(cases.map(([, h]) => h));
  const all = Uint16Array.from({ length: 65536 }, (_, i) => i).filter((h) => (h & 0x7c00) !== 0x7c00 || (h & 0x3ff) === 0);
  expect(toFloat16(fromFloat16(all))).toEqual(all);
  expect(Number.isNaN(fromFloat16(toFloat16([Number.NaN]))[0])).toBe(true);
});
