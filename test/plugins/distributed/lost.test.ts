import { describe, expect, test } from 'vitest';
import { folder, type Launcher, launchers, ranks } from '../../support/mpi.js';

const found = launchers();
const [first] = found;

/** Starts two ranks under each of these at the same time, as they mostly wait, and looks at how each job ended. */
async function under(
  makes: readonly Launcher[],
  settings: object | readonly object[],
  look: (code: number | null, output: string) => void,
) {
  await Promise.all(
    makes.map(async (launcher) => {
      const out = await folder();
      const own = Array.isArray(settings) ? settings.map((one) => ({ ...one, out })) : { ...settings, out };
      const { code, output } = await ranks(launcher, 2, own);
      look(code, output);
    }),
  );
}

describe.skipIf(!first)('under every launcher', () => {
  test.each([
    ['throw', /rank 1 of 2: error HOOK_THREW .*the fault of this test.*rank 1 of 2: {2}at \S+:\d+/s],
    ['exit', /rank 1 of 2: error RANK_LOST.*ended before the run did/],
  ])('a rank that goes by %s ends the job', async (kind, said) => {
    await under(found, { steps: 100_000, fault: { rank: 1, step: 20, kind } }, (code, output) => {
      expect(code, output).not.toBe(0);
      expect(output).toMatch(said);
    });
  });

  // One job of eight at a time.
  test.each(found.map((launcher) => [launcher.name, launcher] as const))(
    'of eight the one that is killed is named, by the launcher or by us, and the job ends: %s',
    async (_, launcher) => {
      const { code, output } = await ranks(launcher, 8, {
        out: await folder(),
        steps: 100_000,
        fault: { rank: 5, step: 20, kind: 'kill' },
      });
      expect(code).not.toBe(0);
      expect(output).toMatch(/process rank 5 .*signal 9|RANK_LOST \(mpi\): rank 5 ended before the run did/);
      expect(output).not.toMatch(/rank [0-46-7] ended before/);
    },
  );

  // How it is found is the watchdog's own affair, how the job is ended the library's: two of the four on each further make.
  test.each([
    ['hang', 1, /RANK_LOST.*rank 1 did not come to collective call \d+ within 2 s, where rank 0 waited/],
    ['hang', 0, /RANK_LOST.*rank 0 did not come to collective call \d+ within 2 s, where rank 1 waited/],
    ['stop', 1, /RANK_LOST.*rank 1 did not/],
    ['stop', 0, /RANK_LOST.*rank 0 did not answer rank 1 for 2 s/],
  ] as const)('a rank that is caught by %s (rank %i) is named', async (kind, rank, said) => {
    const makes = (kind === 'hang') === (rank === 1) ? found : [first];
    await under(makes, { steps: 100_000, timeout: 2, fault: { rank, step: 20, kind } }, (code, output) => {
      expect(output).toMatch(said);
      expect(output).not.toMatch(/ended before the run did/);
      expect(code, output).not.toBe(0);
    });
  });

  test('ranks that differ at the start, or drift apart, are told in what; after such an error another run can be made', async () => {
    const differs = [{ seed: 4 }, { learningRate: 1 }, { version: '2' }, { shift: 1 }];
    const runs = differs.map((differ) => ({ steps: 12, fails: true, differ: { rank: 1, ...differ } }));
    const drifts = { steps: 12, checkEvery: 5, fault: { rank: 1, step: 7, kind: 'differ' } };
    await under(found, [...runs, drifts], (code, output) => {
      expect(code, output).not.toBe(0);
      for (const said of [
        /RANKS_DIFFER.*seed is 3 on rank 0 and 4 on rank 1/,
        /RANKS_DIFFER.*learningRate is 0.005 on rank 0 and 1 on rank 1/,
        /RANKS_DIFFER.*version is "1" on rank 0 and "2" on rank 1/,
        /RANKS_DIFFER.*the data set of rank 1 is not rank 0's/,
        /RANKS_DIVERGED.*before step 11 rank 1 differs from rank 0 in .*bias/,
      ])
        expect(output).toMatch(said);
    });
  });
});
