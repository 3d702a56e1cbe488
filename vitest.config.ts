import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';
import facts from './package.json' with { type: 'json' };

/** Files that take long: one that begins last would keep a processor waiting for it. */
const LONG = [
  'every-plugin',
  'explain',
  'kernels',
  'optimizers',
  'supervised',
  'bad-input',
  'single-file',
  'parity',
  'trials',
  'cached-latents',
  'settings',
  'emoji',
  // Of whole programs.
  'lost',
  'fresh-process',
  'bench',
  'ranks',
  'runs',
  'launch',
  'kill',
  'package',
  'scripts',
  'types',
  'browser-example',
  'ui',
  'signals',
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

/** Files that compare all that a process has before and after a device is set up: each is the first of its process. */
const FRESH = ['test/plugins/devices/{install,webgpu}.test.ts'];
/** One that asks for all that a heap may grow to, where nothing was in it before. */
const HEAP = ['test/plugins/devices/wasm/heap.test.ts'];
/** Files whose devices have several threads: a process keeps as many as it began with. */
const THREADS = [
  'test/plugins/devices/kernels.test.ts',
  'test/plugins/optimizers/optimizers.test.ts',
  'test/plugins/persist/checkpoint.test.ts',
  'test/presets/supervised.test.ts',
];

/**
 * Whole programs, as they are started: benchmarks and comparisons at their smallest size, ranks, kills, launches, pages in a browser, the packed package,
 * what compilers make of our declarations. They take as long as all others together: `npm run test:programs`.
 */
const PROGRAMS = [
  'test/bench/**/*.test.ts',
  'test/core/tf.test.ts',
  'test/docs/browser-example.test.ts',
  'test/parity/**/*.test.ts',
  'test/plugins/devices/webgpu/native-errors.test.ts',
  'test/plugins/distributed/{lost,ranks}.test.ts',
  'test/plugins/distributed/mpi/watchdog.test.ts',
  'test/plugins/{fresh-process,kill}.test.ts',
  'test/plugins/observe/ui.test.ts',
  'test/presets/browser.test.ts',
  'test/presets/cli/{launch,launch-grace,page,runs,signals}.test.ts',
  'test/presets/package.test.ts',
  'test/types/**/*.test.ts',
];

const project = (
  name: string,
  include: string[],
  { exclude = [], setupFiles = [] }: { exclude?: string[]; setupFiles?: string[] } = {},
) => ({
  extends: true as const,
  test: { name, include, exclude, setupFiles },
});

/** The package's own names (`imports` of package.json) lead to dist/: tests look at the sources. */
const own = Object.entries(facts.imports).map(([name, { default: file }]) => ({
  find: name,
  replacement: fileURLToPath(new URL(file.replace(/^\.\/dist\/(.*)\.js$/, './$1.ts'), import.meta.url)),
}));

export default defineConfig({
  resolve: { alias: own },
  test: {
    projects: [
      project('fresh', FRESH),
      project('heap', HEAP),
      project('threads', THREADS),
      project('all others', ['test/**/*.test.ts'], {
        exclude: [...FRESH, ...HEAP, ...THREADS, ...PROGRAMS],
        setupFiles: ['test/support/one-thread.ts'],
      }),
      project('programs', PROGRAMS, { setupFiles: ['test/support/one-thread.ts'] }),
    ],
    testTimeout: 120_000,
    hookTimeout: 120_000,
    // Loading TensorFlow.js takes longer than most files do: those of a project share two processes, and so leave a process as they found it.
    pool: 'forks',
    isolate: false,
    poolOptions: { forks: { maxForks: 2, isolate: false } },
    sequence: { sequencer: LongestFirst },
    setupFiles: ['test/support/setup.ts'],
  },
});
