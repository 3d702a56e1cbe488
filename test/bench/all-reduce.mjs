// Time of a 64 MB all-reduce through steploom, in a heap of WebAssembly, beside mpi4py's on the same MPI; in turns of one run.
//   npm run build && node test/bench/all-reduce.mjs [mpirun] [python with mpi4py, or - for none] [processes] [megabytes] [turns]
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const [mpirun = 'mpirun', python = 'python3', processes = '2', megabytes = '64', turns = '3'] = process.argv.slice(2);
const bytes = Number(megabytes) << 20;
const self = fileURLToPath(import.meta.url);

if (mpirun === '--rank') {
  const { mpi } = await import('../../dist/plugins/distributed/mpi.js');
  const { SteploomError } = await import('../../dist/core/index.js');
  const collective = mpi();
  let error;
  const hook = { tap: (fn) => (error ??= fn), tapPromise: () => undefined };
  await collective.apply({ hooks: { validate: { tap: () => undefined }, onEnd: hook, onError: hook } });
  const memory = new WebAssembly.Memory({ initial: bytes >> 16, maximum: bytes >> 16, shared: true });
  const values = new Float32Array(memory.buffer);
  const times = [];
  for (let i = 0; i < 12; i++) {
    await collective.barrier();
    const start = performance.now();
    await collective.allReduce([values]);
    times.push(performance.now() - start);
  }
  if (collective.rank === 0) console.log(`MS ${times.slice(2).sort((a, b) => a - b)[5]}`);
  await collective.barrier();
  // The run has ended for all: MPI is finalized, not aborted.
  error(new SteploomError({ code: 'DONE', plugin: 'bench', what: '', fix: '' }, { everyRank: true }));
  process.exit(0);
}

const root = process.getuid?.() === 0 ? ['--allow-run-as-root'] : [];
const { stdout: version } = spawnSync(mpirun, ['--version'], { encoding: 'utf8' });
const flags = /Open MPI|OpenRTE/.test(version) ? [...root, '--oversubscribe', '--bind-to', 'none'] : [];
const time = (...command) => {
  const { stdout, stderr, status } = spawnSync(mpirun, [...flags, '-n', processes, ...command], { encoding: 'utf8' });
  const ms = Number(/MS ([\d.]+)/.exec(stdout)?.[1]);
  if (status !== 0 || !(ms > 0)) throw new Error(`${command.join(' ')}: ${stdout}\n${stderr}`);
  return ms;
};
const theirs = `
import time
from mpi4py import MPI
import numpy as np
comm = MPI.COMM_WORLD
values = np.zeros(${bytes / 4}, np.float32)
times = []
for _ in range(12):
    comm.Barrier()
    start = time.perf_counter()
    comm.Allreduce(MPI.IN_PLACE, values)
    times.append(time.perf_counter() - start)
if comm.rank == 0:
    print('MS', 1000 * sorted(times[2:])[5])
`;
const sides = [
  ['steploom', process.execPath, self, '--rank', '-', processes, megabytes],
  ...(python === '-' ? [] : [['mpi4py', python, '-c', theirs]]),
];
const rows = [];
for (let turn = 0; turn < turns; turn++) {
  rows.push(sides.map(([, ...command]) => time(...command)));
  console.log(sides.map(([name], k) => `${name} ${rows[turn][k].toFixed(1)} ms`).join(', '));
}
const middle = (k) => rows.map((row) => row[k]).sort((a, b) => a - b)[Math.floor(rows.length / 2)];
if (sides.length > 1) console.log(`steploom to mpi4py: ${(middle(0) / middle(1)).toFixed(2)}`);
