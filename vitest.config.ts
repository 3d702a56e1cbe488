import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    testTimeout: 120_000,
    hookTimeout: 120_000,
    // One process a file: TensorFlow.js keeps its backends and tensors in the process.
    pool: 'forks',
    poolOptions: { forks: { maxForks: 2 } },
    setupFiles: ['test/support/setup.ts'],
  },
});
