import { afterEach, expect, test, vi } from 'vitest';
import { findMpirun } from '../../../presets/cli/mpirun.js';

afterEach(() => vi.unstubAllEnvs());

test('an empty MPIRUN is one that is not set', () => {
  vi.stubEnv('PATH', '/nowhere');
  vi.stubEnv('MPIRUN', '');
  expect(() => findMpirun(undefined)).toThrow(/MPI_MISSING.*tried mpirun, mpiexec/);
  vi.stubEnv('MPIRUN', 'mine');
  expect(() => findMpirun(undefined)).toThrow(/MPI_MISSING.*tried mine, mpirun, mpiexec/);
});
