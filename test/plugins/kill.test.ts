import { expect, test } from 'vitest';
import { launchers } from '../support/mpi.js';
import { script } from '../support/script.js';

const { killing } = (await import('../support/kill.mjs' as string)) as {
  killing(options: object): Promise<{ faults: string[]; steps: number[] }>;
};

// As the command that it is.
test('a run killed with -9 at any moment resumes and ends with the same bytes', async () => {
  const output = await script('support/kill.mjs', ['4', '1', 'none', '1']);
  expect(output).toContain('every run ended with the bytes of the undisturbed one');
  const steps = /^4 times kill, 1 process, after steps (.*)$/m.exec(output)?.[1].split(' ') ?? [];
  expect(steps).toHaveLength(4);
  expect(new Set(steps).size).toBeGreaterThan(1);
});

const [launcher] = launchers();
test.skipIf(!launcher)('so does one of 2 ranks, either of which is killed', async () => {
  const { faults } = await killing({ times: 2, processes: 2, launcher, seed: 2 });
  expect(faults).toEqual([]);
});

test.each(['stop', 'error'])('so does one that is ended by %s, with what the last step left', async (how) => {
  const { faults, steps } = await killing({ times: 2, how, seed: 3 });
  expect(faults).toEqual([]);
  expect(Math.max(...steps)).toBeGreaterThan(0);
});

test.skipIf(!launcher)('so does one of which a rank has an error', async () => {
  const { faults } = await killing({ times: 1, how: 'error', processes: 2, launcher, seed: 4 });
  expect(faults).toEqual([]);
});
