// One rank's watchdog in a process of its own, without MPI: whoever tests it speaks to it over TCP.
//   node watchdog.mjs '{"rank":0,"timeout":1}' 'here' | '{"port":...}'
// A line on its standard input sets the clock of its thread an hour on, as a correction of the machine's does.
import { syncBuiltinESMExports } from 'node:module';
import threads from 'node:worker_threads';

const hours = new Int32Array(new SharedArrayBuffer(4));
threads.Worker = class extends threads.Worker {
  constructor(file, { workerData }) {
    const clock = `const { hours } = require('node:worker_threads').workerData; const { now } = Date;
      Date.now = () => now() + 3_600_000 * Atomics.load(hours, 0);`;
    super(`${clock} import(${JSON.stringify(String(file))});`, { workerData: { ...workerData, hours }, eval: true });
  }
};
syncBuiltinESMExports();

const [data, meeting] = process.argv.slice(2);
const { Watchdog } = await import('../../dist/plugins/distributed/mpi/watchdog.js');
const launcher = { rank: 0, worldSize: 2, kind: 'openmpi' };
const watchdog = new Watchdog({ host: 'here', token: 'secret', launcher, ...JSON.parse(data) });
if (meeting.startsWith('{')) console.log(await watchdog.join({ host: 'here', addresses: [], ...JSON.parse(meeting) }));
else console.log((await watchdog.listen(meeting)).port);
process.stdin.on('data', () => Atomics.add(hours, 0, 1));
process.stdin.on('end', () => process.exit(0));
