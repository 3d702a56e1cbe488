// One rank's watchdog in a process of its own, without MPI: whoever tests it speaks to it over TCP.
//   node watchdog.mjs '{"rank":0,"timeout":1}' 'here' | '{"port":...}' [clock-step]
import { syncBuiltinESMExports } from 'node:module';
import threads from 'node:worker_threads';

const [data, meeting, clock] = process.argv.slice(2);
if (clock === 'clock-step') {
  // In its thread Date is an hour later from two seconds on, as after a correction of the machine's clock.
  const step = 'const { now } = Date; const first = now(); Date.now = () => now() + (now() - first > 2000 ? 3_600_000 : 0);';
  threads.Worker = class extends threads.Worker {
    constructor(file, options) {
      super(`${step} import(${JSON.stringify(String(file))});`, { ...options, eval: true });
    }
  };
  syncBuiltinESMExports();
}
const { Watchdog } = await import('../../dist/plugins/distributed/mpi/watchdog.js');
const launcher = { rank: 0, worldSize: 2, kind: 'openmpi' };
const watchdog = new Watchdog({ host: 'here', token: 'secret', launcher, ...JSON.parse(data) });
if (meeting.startsWith('{')) console.log(await watchdog.join({ host: 'here', addresses: [], ...JSON.parse(meeting) }));
else console.log((await watchdog.listen(meeting)).port);
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
