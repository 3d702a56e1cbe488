import { spawn, spawnSync } from 'node:child_process';
import { mkdtemp, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export interface Launcher {
  readonly name: string;
  readonly path: string;
  readonly flags: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

const root = process.getuid?.() === 0 ? ['--allow-run-as-root'] : [];
const KNOWN: readonly Launcher[] = [
  { name: 'Open MPI', path: 'mpirun.openmpi', flags: [...root, '--oversubscribe', '--bind-to', 'none'] },
  { name: 'MPICH', path: 'mpirun.mpich', flags: [] },
];

/** The launchers found here; what is missing is named in one line. STEPLOOM_TEST_MPI names others (test/parity/other_mpi.py). */
export function launchers(): Launcher[] {
  const others = process.env.STEPLOOM_TEST_MPI;
  if (others) return JSON.parse(others) as Launcher[];
  return KNOWN.filter(({ name, path }) => {
    const found = spawnSync(path, ['--version']).status === 0;
    if (!found) console.log(`not tested here: ${name} (${path} is not installed)`);
    return found;
  });
}

export interface Ended {
  readonly code: number | null;
  readonly output: string;
  readonly seconds: number;
}

const script = fileURLToPath(new URL('./rank.mjs', import.meta.url));

/** Runs a command to its end, or for so many seconds. */
export function ran(
  command: string,
  args: readonly string[],
  { env = {}, limit = 110 }: { env?: Readonly<Record<string, string>>; limit?: number } = {},
): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const started = performance.now();
    const child = spawn(command, args, { env: { ...process.env, ...env } });
    let output = '';
    child.stdout.on('data', (text) => (output += text));
    child.stderr.on('data', (text) => (output += text));
    const timer = setTimeout(() => child.kill('SIGKILL'), limit * 1000);
    child.once('error', reject);
    child.once('close', (code) => {
      clearTimeout(timer);
      resolve({ code, output, seconds: (performance.now() - started) / 1000 });
    });
  });
}

export interface RankResult {
  readonly step: number;
  readonly stopped: boolean;
  readonly losses: number[];
  readonly rates: number[];
  readonly weights: Record<string, number[]>;
  readonly metrics: Record<string, number>;
  readonly stateBytes: number;
  readonly tensors: number;
  readonly threads: number;
}

/** Settings of a run: see rank-job.mjs. */
export type Settings = Readonly<Record<string, unknown>> & { readonly out?: string };

export const folder = (): Promise<string> => mkdtemp(join(tmpdir(), 'steploom-ranks-'));

/** Runs test/support/rank.mjs in so many processes (1: without a launcher), with the settings of one run or of several in turn. Whatever comes of it. */
export async function ranks(launcher: Launcher, processes: number, settings: object | readonly object[]): Promise<Ended> {
  const own = [script, JSON.stringify(settings)];
  return processes === 1
    ? ran(process.execPath, own, { limit: 280 })
    : ran(launcher.path, [...launcher.flags, '-n', String(processes), process.execPath, ...own], { env: launcher.env, limit: 280 });
}

/** The same where all must go well: of each run what each rank wrote. Starting costs more than a small run does. */
export async function results(launcher: Launcher, processes: number, runs: readonly Settings[]): Promise<RankResult[][]> {
  const all = await Promise.all(runs.map(async (settings) => ({ ...settings, out: settings.out ?? (await folder()) })));
  const ended = await ranks(launcher, processes, all);
  if (ended.code !== 0) throw new Error(`ended with ${ended.code}:\n${ended.output}`);
  const read = async (out: string, rank: number) => JSON.parse(await readFile(join(out, `rank-${rank}.json`), 'utf8')) as RankResult;
  return Promise.all(all.map(({ out }) => Promise.all(Array.from({ length: processes }, (_, rank) => read(out, rank)))));
}
