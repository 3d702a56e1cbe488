import { expect, test } from 'vitest';
import { launchers } from '../support/mpi.js';

const { killing } = (await import('../support/kill.mjs' as string)) as {
  killing(options: object): Promise<{ faults: string[]; steps: number[] }>;
};

test('a run killed with -9 at any moment resumes and ends with the same bytes', async () => {
  const { faults, steps } = await killing({ times: 6, seed: 1 });
  expect(faults).toEqual([]);
  expect(new Set(steps).size).toBeGreaterThan(2);
});

const [launcher] = launchers();
test.skipIf(!launcher)('so does one of 2 ranks, either of which is killed', async () => {
  const { faults } = await killing({ times: 3, processes: 2, launcher, seed: 2 });
  expect(faults).toEqual([]);
});
