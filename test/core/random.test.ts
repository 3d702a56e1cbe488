import { expect, test } from 'vitest';
import { RandomGenerator, seededRandom } from '../../core/index.js';

test('Philox 4x32-10 gives the known answers of its authors', () => {
  // Random123's kat_vectors: all zeros, and the digits of pi.
  const words = (key: [number, number], stream: [number, number, number]) => {
    const generator = new RandomGenerator(key, stream);
    return Array.from({ length: 4 }, () => Math.floor(generator.uniform() * 16777216));
  };
  expect(words([0, 0], [0, 0, 0])).toEqual([0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8].map((w) => w >>> 8));
});

test('draws depend on their names alone', () => {
  const [one, other] = [seededRandom(3), seededRandom(3)];
  const first = one.item('noise', 2, 7).normals(new Float32Array(5));
  other.item('noise', 2, 8).normals(new Float32Array(100));
  expect(other.item('noise', 2, 7).normals(new Float32Array(5))).toEqual(first);
  expect(seededRandom(4).item('noise', 2, 7).normals(new Float32Array(5))).not.toEqual(first);
  expect(one.item('other', 2, 7).normals(new Float32Array(5))).not.toEqual(first);
  expect(one.micro('noise', 2, 7).normals(new Float32Array(5))).not.toEqual(first);
});

test('generators that are drawn from in turns do not disturb each other', () => {
  const random = seededRandom(5);
  const alone = (id: number) => {
    const generator = random.item('turns', 1, id);
    return Array.from({ length: 11 }, () => generator.uniform());
  };
  const pair = [1, 2].map((id) => random.item('turns', 1, id));
  const inTurns = pair.map(() => [] as number[]);
  for (let k = 0; k < 11; k++)
    for (const [i, generator] of pair.entries()) {
      inTurns[i].push(generator.uniform());
      if (k % 3 === 0) random.item('other', 0, k).normals(new Float32Array(5));
    }
  expect(inTurns).toEqual([alone(1), alone(2)]);
});

test('normal and uniform numbers have the moments they should', () => {
  const n = 1_000_000;
  const values = seededRandom(5).named('normals').normals(new Float32Array(n));
  const moment = (k: number) => values.reduce((sum, x) => sum + x ** k, 0) / n;
  // Four standard errors each.
  expect(Math.abs(moment(1))).toBeLessThan(4 / Math.sqrt(n));
  expect(Math.abs(moment(2) - 1)).toBeLessThan(4 * Math.sqrt(2 / n));
  expect(Math.abs(moment(3))).toBeLessThan(4 * Math.sqrt(15 / n));
  expect(Math.abs(moment(4) - 3)).toBeLessThan(4 * Math.sqrt(96 / n));
  const [even, odd] = [values.filter((_, i) => i % 2 === 0), values.filter((_, i) => i % 2 === 1)];
  expect(Math.abs(even.reduce((sum, x, i) => sum + x * odd[i], 0) / even.length)).toBeLessThan(4 / Math.sqrt(even.length));
  const uniform = seededRandom(5).named('uniforms').uniforms(new Float32Array(n));
  expect(Math.abs(uniform.reduce((a, b) => a + b, 0) / n - 0.5)).toBeLessThan(4 / Math.sqrt(12 * n));
});

test('permutations hold every number once, and differ by epoch', () => {
  const random = seededRandom(1);
  const order = random.named('order', 0).permutation(1000);
  expect([...order].sort((a, b) => a - b)).toEqual(Array.from({ length: 1000 }, (_, i) => i));
  expect(random.named('order', 1).permutation(1000)).not.toEqual(order);
});
