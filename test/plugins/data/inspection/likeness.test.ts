import sharp, { type Sharp } from 'sharp';
import { expect, test } from 'vitest';
import { alike, likenessOf } from '../../../../plugins/data/inspection/likeness.js';

/** A picture of soft shapes, which `which` chooses, with a shift of its colours. */
const picture = (which: number, shift = 0) =>
  sharp(
    Uint8Array.from({ length: 120 * 90 * 3 }, (_, i) => {
      const [x, y] = [(Math.floor(i / 3) % 120) / 120, Math.floor(i / 360) / 90];
      return Math.max(
        0,
        Math.min(255, 128 + shift + 100 * Math.sin(5 * x * (1 + (which % 3)) + which) * Math.cos(4 * y + which + (i % 3))),
      );
    }),
    { raw: { width: 120, height: 90, channels: 3 } },
  );
const reopened = async (changed: Sharp) => sharp(await changed.toBuffer());

test('what was scaled, compressed or lightened looks like what it was; another picture does not', async () => {
  const pictures = [
    picture(1),
    await reopened(picture(1).resize(64, 64, { fit: 'fill' }).jpeg({ quality: 50 })),
    picture(2),
    picture(3),
    await reopened(picture(3, 5).webp({ quality: 70 })),
    picture(4),
    // Mirrored, it is another.
    await reopened(picture(4).flop().png()),
  ];
  const looks = await Promise.all(pictures.map(likenessOf));
  expect(alike(looks)).toEqual([
    [0, 1],
    [3, 4],
  ]);
});

test('pictures of one colour are told apart by it; of thousands without a likeness none is grouped', async () => {
  const flat = (background: string) => sharp({ create: { width: 20, height: 20, channels: 3, background } }).png();
  const looks = await Promise.all(['#800000', '#820101', '#008000', '#ffffff', '#000000'].map((colour) => likenessOf(flat(colour))));
  expect(alike(looks)).toEqual([[0, 1]]);
  const [{ small }] = looks;
  // Each differs from all others in at least a byte's bits.
  const many = Array.from({ length: 3000 }, (_, i) => ({
    gradients: [Math.imul(i, 0x9e3779b1), Math.imul(i ^ 0x5bd1e995, 0x85ebca6b)] as [number, number],
    small,
  }));
  expect(alike(many).flat().length).toBeLessThan(30);
});
