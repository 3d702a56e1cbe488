import { describe, expect, test } from 'vitest';
import { delft, type Emoji, renderEmoji, splitEmoji } from '../../../presets/emoji/noto.js';

describe('emoji', () => {
  test('are rendered on white, with captions; the split is stratified and fixed', async () => {
    const icons = await renderEmoji('icons');
    expect(icons.length).toBeGreaterThan(1000);
    const ghost = icons.find((e) => e.name === 'ghost');
    expect([...(ghost?.draw().slice(0, 3) ?? [])].map((x) => Math.round(x * 1000))).toEqual([1000, 1000, 1000]);
    expect(icons.find((e) => e.name === 'grinning-face')?.caption).toBe('grinning face');
    expect(icons.some((e) => /skin-tone|flag|clock|thirty/.test(e.name))).toBe(false);
    const { train, held } = splitEmoji(icons, 64, 48);
    expect([train.length, held.length, new Set([...train, ...held]).size]).toEqual([64, 48, 112]);
    expect(new Set(train.map((e) => e.category)).size).toBe(new Set(icons.map((e) => e.category)).size);
    const styled = delft((ghost as Emoji).draw());
    expect(styled[2]).toBeCloseTo(1, 5);
    expect(Math.min(...styled)).toBeCloseTo(0.02, 1);
  });
});
