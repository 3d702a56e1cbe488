import { expect, test } from 'vitest';
import { Problems } from '../../../../core/index.js';
import { bucketFacts, bucketsOf, checkBuckets, checkStep, sizeChooser } from '../../../../plugins/data/image-folder/buckets.js';

const chooser = (resolution: number, options = {}) => sizeChooser(resolution, bucketsOf(resolution, options));
/** Width x height, as people say it, for height and width. */
const chosen = (choose: ReturnType<typeof chooser>, width: number, height: number) => choose([height, width])?.toReversed().join('x');

test('the sizes have as many pixels, or a little less; a picture gets the one that crops it least', () => {
  const choose = chooser(512);
  const found = new Set<string | undefined>();
  for (let width = 600; width <= 2600; width += 20) found.add(chosen(choose, width, 1100));
  for (let height = 600; height <= 3200; height += 20) found.add(chosen(choose, 1100, height));
  expect([...found].sort()).toEqual(['320x768', '384x640', '448x576', '512x512', '576x448', '640x384', '768x320']);
  expect([chosen(choose, 4000, 1000), chosen(choose, 1000, 4000)]).toEqual(['1024x256', '256x1024']);
  // 3:2 lies between 576x448 (9:7) and 640x384 (5:3).
  expect(chosen(choose, 3000, 2000)).toBe('640x384');
  expect(chosen(choose, 2048, 1536)).toBe('576x448');
  // Limits of the sides.
  expect(chosen(chooser(512, { min: 384, max: 640 }), 4000, 1000)).toBe('640x384');
  // SDXL's, of steps of 64.
  expect(chosen(chooser(1024), 1920, 1080)).toBe('1344x768');
});

test('of two that crop as little every machine takes the same; sides in steps, of resolutions that are none', () => {
  for (const resolution of [100, 512, 575, 640])
    for (let width = 70; width < 1400; width += 83)
      for (let height = 70; height < 1400; height += 61) {
        const size = chooser(resolution)([height, width]) as readonly number[];
        expect(size.every((side) => side > 0 && side % 64 === 0)).toBe(true);
        expect(size[0] * size[1]).toBeLessThanOrEqual(resolution ** 2);
        // Never enlarged.
        expect(size[0] <= height && size[1] <= width).toBe(true);
      }
  expect(chosen(chooser(575), 1000, 1000)).toBe('512x512');
});

test('a picture that is smaller than its size has a smaller one, unless it is to be enlarged', () => {
  const [choose, enlarge] = [chooser(512), chooser(512, { upscale: true })];
  const both = (width: number, height: number) => [chosen(choose, width, height), chosen(enlarge, width, height)];
  expect(both(511, 512)).toEqual(['448x448', '512x512']);
  expect(both(500, 380)).toEqual(['448x320', '576x448']);
  expect(both(127, 500)).toEqual(['64x256', '256x1024']);
  expect(both(64, 64)).toEqual(['64x64', '512x512']);
  expect(both(63, 800)).toEqual([undefined, '256x1024']);
  // Too narrow for the table: what is not in it may be longer than the shortest side allows.
  expect(both(100, 5000)).toEqual(['64x1024', '256x1024']);
});

test('limits that cannot be are named', () => {
  const problemsOf = (resolution: number, options: object) => {
    const problems = new Problems();
    checkBuckets(problems.options('image-folder'), resolution, bucketsOf(resolution, options));
    return problems.list.map(({ what }) => what);
  };
  expect(problemsOf(512, {})).toEqual([]);
  expect(problemsOf(512, { step: 0, min: 300, max: 200 })).toEqual(['bucketStep is 0']);
  expect(problemsOf(512, { min: 600, max: 520 })).toEqual(['bucketMin is 600, more than bucketMax, 520']);
  expect(problemsOf(512, { min: 520 })).toEqual(['the sides from bucketMin 520 to bucketMax 1024 are without the square’s, 512']);
  expect(problemsOf(32, {})).toEqual(['bucketStep is 64, more than the resolution of 32']);
  const problems = new Problems();
  for (const step of [32, 64]) checkStep(problems.options('image-folder'), bucketsOf(512, { step }), 64);
  expect(problems.list.map(({ what, fix }) => [what, fix])).toEqual([
    ['bucketStep is 32, and the model works on multiples of 64 pixels', 'Give a multiple of 64.'],
  ]);
});

test('the table counts images and batches, from the narrowest to the widest', () => {
  const sizes = [...new Array<readonly [number, number]>(5).fill([64, 128]), [128, 64], [64, 64], [128, 128]] as const;
  expect(bucketFacts(sizes, 2)).toEqual([
    ['sizes', '   64 x 128: 1 image in 1 batch'],
    ['', '    64 x 64: 1 image in 1 batch'],
    ['', '  128 x 128: 1 image in 1 batch'],
    ['', '   128 x 64: 5 images in 3 batches'],
  ]);
});
