// Ends a small run before its time, resumes it, and compares what it ends with, byte for byte, with a run that nobody disturbed. `kill` ends it
// with -9 at random moments; a checkpoint is written every step, so that most moments fall into writing one. `stop` asks for a stop by a signal at
// random moments, in the middle of evaluations as well, and `error` throws in a random step, on a random rank: no checkpoint is due then, and what the
// last step left must be there all the same.
//   npm run build && node test/support/kill.mjs [times] [processes] [mpirun] [seed] [kill | stop | error]
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { seededRandom } from '../../dist/core/index.js';

const script = fileURLToPath(new URL('./rank.mjs', import.meta.url));
const STEPS = 40;

/** Starts runs, one after another in the same processes; `ended` tells with which code they did. */
function start(outs, processes, launcher, how, more = {}) {
  const settings = { steps: STEPS, window: 2, resume: 'latest', log: true, checkEvery: 0, atEnd: true, oneStore: true, ...more };
  if (how === 'kill') settings.every = 1;
  else settings.evaluate = 3;
  const own = [script, JSON.stringify(outs.map((out) => ({ ...settings, out })))];
  const child =
    processes === 1
      ? spawn(process.execPath, own, { stdio: 'ignore' })
      : spawn(launcher.path, [...launcher.flags, '-n', String(processes), process.execPath, ...own], { stdio: 'ignore' });
  return { child, ended: new Promise((resolve) => child.once('close', resolve)) };
}

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/** Waits for a file, which a process writes when it is about to train. */
async function present(path) {
  while (!existsSync(path)) await pause(5);
}

/** The last step of which a run has a checkpoint, 0 before the first. */
function lastCheckpoint(out) {
  const store = join(out, 'store-0');
  const names = existsSync(store) ? readdirSync(store) : [];
  return Math.max(0, ...names.map((name) => Number(/^checkpoint-(\d+)$/.exec(name)?.[1] ?? 0)));
}

/** The bytes of the last checkpoint, and the steps and losses of the log. */
function outcome(out) {
  const last = join(out, 'store-0', `checkpoint-${STEPS}`);
  const lines = readFileSync(join(out, 'log-0', 'log.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map(JSON.parse);
  const files = Object.fromEntries(
    ['state.safetensors', 'state.json', 'checksums.json'].map((name) => [name, readFileSync(join(last, name), 'base64')]),
  );
  return JSON.stringify({ files, log: lines.map(({ step, loss, learningRate }) => [step, loss, learningRate]) });
}

const folder = () => mkdtempSync(join(tmpdir(), 'steploom-kill-'));

/**
 * Ends `times` runs, each in a folder of its own. Returns the faults found, and after which step each run was ended.
 * @param {{ times: number, how?: 'kill' | 'stop' | 'error', processes?: number, launcher?: { path: string, flags: readonly string[] }, seed?: number }} options
 */
export async function killing({ times, how = 'kill', processes = 1, launcher, seed = 0 }) {
  const random = seededRandom(seed).named('kill');
  const faults = [];
  const steps = [];
  const whole = folder();
  const undisturbed = start([whole], processes, launcher, how);
  await present(join(whole, `pid-${processes - 1}`));
  const began = performance.now();
  if ((await undisturbed.ended) !== 0) throw new Error('the undisturbed run failed');
  const lasted = performance.now() - began;
  const expected = outcome(whole);
  rmSync(whole, { recursive: true });
  const outs = [];
  const at = (k) => `run ${k}, ended after step ${steps[k]}`;
  for (let k = 0; k < times; k++) {
    const out = folder();
    const rank = random.integer(processes);
    const fault = how === 'error' ? { rank, step: random.integer(STEPS), kind: 'break' } : undefined;
    outs.push(out);
    const { child, ended } = start([out], processes, launcher, how, { fault });
    if (!fault) {
      await present(join(out, `pid-${processes - 1}`));
      // One moment in each of as many equal parts of the run. By its checkpoints, where it writes them, since a machine is now fast and now slow.
      const part = (k + random.uniform()) / times;
      if (how === 'kill') {
        while (child.exitCode === null && child.signalCode === null && lastCheckpoint(out) < Math.floor(part * STEPS)) await pause(1);
        await pause((lasted / STEPS) * random.uniform());
      } else {
        await pause(lasted * part);
      }
      try {
        const pid = processes === 1 ? child.pid : Number(readFileSync(join(out, `pid-${rank}`), 'utf8'));
        process.kill(pid, how === 'kill' ? 'SIGKILL' : 'SIGTERM');
      } catch {
        // It had not begun, or had ended: that moment counts as well.
      }
    }
    const first = await ended;
    steps.push(lastCheckpoint(out));
    if (fault && (first === 0 || steps[k] !== fault.step)) faults.push(`${at(k)} with ${first}: the error came in step ${fault.step}`);
  }
  // All are resumed by one start, which takes longer than what is left of them.
  const code = await start(outs, processes, launcher, how).ended;
  if (code !== 0) faults.push(`resuming ended with ${code}`);
  for (const [k, out] of outs.entries()) {
    if (code === 0 && outcome(out) !== expected) faults.push(`${at(k)}: it ended with other bytes`);
    const left = readdirSync(join(out, 'store-0')).filter((name) => name.startsWith('.'));
    if (left.length > 0) faults.push(`run ${k}: ${left} was left behind`);
    rmSync(out, { recursive: true });
  }
  return { faults, steps };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [times = '50', processes = '1', mpirun = 'mpirun', seed = '0', how = 'kill'] = process.argv.slice(2);
  const root = process.getuid?.() === 0 && /mpirun(\.openmpi)?$/.test(mpirun) ? ['--allow-run-as-root', '--oversubscribe'] : [];
  const { faults, steps } = await killing({
    times: Number(times),
    how,
    processes: Number(processes),
    launcher: { path: mpirun, flags: root },
    seed: Number(seed),
  });
  console.log(
    `${times} times ${how}, ${processes} process${processes === '1' ? '' : 'es'}, after steps ${steps.sort((a, b) => a - b).join(' ')}`,
  );
  for (const fault of faults) console.log(fault);
  console.log(faults.length === 0 ? 'every run ended with the bytes of the undisturbed one' : `${faults.length} faults`);
  process.exit(faults.length === 0 ? 0 : 1);
}
