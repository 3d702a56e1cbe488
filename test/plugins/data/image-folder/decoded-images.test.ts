import { expect, test } from 'vitest';
import { DecodedImages } from '../../../../plugins/data/image-folder/decoded-images.js';

/** A cache of so many bytes over images of these sizes; `decoded` are the ids that were decoded, in turn. */
function cache(kept: number, sizes: readonly number[]) {
  const decoded: number[] = [];
  const images = new DecodedImages(async (id) => {
    decoded.push(id);
    if (sizes[id] < 0) throw new Error(`image ${id} is broken`);
    return { original: [1, 1], width: 1, height: 1, bytes: new Uint8Array(sizes[id]) };
  }, kept);
  return { images, decoded };
}

test('an image that goes makes as much room as it took, whatever the one that came takes', async () => {
  const { images, decoded } = cache(100, [80, 10, 10, 10, 10, 10, 10, 10, 10, 90]);
  // 0 goes when 3 comes, and all others have room.
  for (const id of [0, 1, 2, 3, 4, 5, 6, 7, 8]) await images.get(id);
  for (const id of [1, 2, 3, 4, 5, 6, 7, 8]) await images.get(id);
  expect(decoded).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8]);
  // All but one of them go for 9.
  await images.get(9);
  for (const id of [9, 8]) await images.get(id);
  expect(decoded).toHaveLength(10);
  await images.get(7);
  expect(decoded.slice(10)).toEqual([7]);
});

test('images that are asked for together are decoded once each, and counted when they are', async () => {
  const { images, decoded } = cache(30, [20, 20, 20, 20]);
  const same = images.get(0);
  expect(images.get(0)).toBe(same);
  await Promise.all([0, 1, 2, 3].map((id) => images.get(id)));
  expect(decoded).toEqual([0, 1, 2, 3]);
  await images.get(3);
  expect(decoded).toHaveLength(4);
  // One has room: what went is decoded again, and takes its place.
  await images.get(0);
  await images.get(0);
  expect(decoded.slice(4)).toEqual([0]);
  await images.get(3);
  expect(decoded.slice(5)).toEqual([3]);
});

test('what is cleared is counted no more; a broken image takes no room', async () => {
  const { images, decoded } = cache(30, [20, 10, -1]);
  await expect(images.get(2)).rejects.toThrow('image 2 is broken');
  const late = images.get(0);
  images.clear();
  await late;
  for (const id of [0, 1, 0, 1]) await images.get(id);
  expect(decoded).toEqual([2, 0, 0, 1]);
});
