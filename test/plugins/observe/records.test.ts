import { expect, test } from 'vitest';
import { Records } from '../../../plugins/observe/page/records.js';

test.each(['add', 'addIfOfUse'] as const)('of many records evaluations stay, and the step with the lowest loss (%s)', (method) => {
  const records = new Records();
  for (let step = 1; step <= 30_000; step++) {
    records[method]({ step, loss: step === 4321 ? 0.1 : 1 + (step % 7) });
    if (step % 1000 === 0) records[method]({ step, 'loss.held': step === 5000 ? 0.2 : 0.9 });
  }
  expect(records.list.length).toBeLessThanOrEqual(4000);
  expect(records.list.length).toBeGreaterThan(1000);
  const held = records.list.filter((record) => record['loss.held'] !== undefined);
  expect(held.map(({ step }) => step)).toEqual(Array.from({ length: 30 }, (_, i) => (i + 1) * 1000));
  expect(Math.min(...records.list.flatMap(({ loss }) => (typeof loss === 'number' ? [loss] : [])))).toBe(0.1);
  const steps = records.list.map(({ step }) => Number(step));
  expect(steps).toEqual([...steps].sort((a, b) => a - b));
});

test('even of evaluations alone no more are kept than a page can draw', () => {
  const records = new Records();
  for (let step = 1; step <= 20_000; step++) records.add({ step, 'loss.held': 1 });
  expect(records.list.length).toBeLessThanOrEqual(4000);
});
