// One rank's watchdog in a process of its own, without MPI: whoever tests it speaks to it over TCP. node watchdog.mjs '{"rank":0,"timeout":1}' 'here' | '{"port":...}'
import { Watchdog } from '../../dist/plugins/distributed/mpi/watchdog.js';

const [data, meeting] = process.argv.slice(2);
const watchdog = new Watchdog({ host: 'here', token: 'secret', launcher: { rank: 0, worldSize: 2, kind: 'openmpi' }, ...JSON.parse(data) });
if (meeting.startsWith('{')) console.log(await watchdog.join({ host: 'here', addresses: [], ...JSON.parse(meeting) }));
else console.log((await watchdog.listen(meeting)).port);
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
