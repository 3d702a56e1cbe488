import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** Files that take a minute or more: one that begins last would keep a processor waiting for it. */
const LONG = [
  'every-plugin',
  'ranks',
  'bench',
  'kill',
  'lost',
  'launch',
  'cli',
  'parity',
  'kernels',
  'half-precision',
  'types',
  'supervised',
  'signals',
  'watchdog',
];

class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const others = await super.sort(files);
    const place = ({ moduleId }: TestSpecification) => {
      const at = LONG.findIndex((name) => moduleId.endsWith(`/${name}.test.ts`));
      return at < 0 ? LONG.length : at;
    };
    return others.toSorted((a, b) => place(a) - place(b));
  }
}

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    testTimeout: 120_000,
    hookTimeout: 120_000,
    // One process a file: TensorFlow.js keeps its backends and tensors in the process.
    pool: 'forks',
    poolOptions: { forks: { maxForks: 2 } },
    sequence: { sequencer: LongestFirst },
    setupFiles: ['test/support/setup.ts'],
  },
});
