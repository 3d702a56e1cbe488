import { type ChildProcess, spawn } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SteploomError } from '../../../core/errors.js';
import { problemLines } from './error-lines.js';
import { LOST } from './watchdog.js';

/** Waits for a word. If its rank's process is gone without one, whoever can take the file $1 away was the first, and says $2. */
const SCRIPT = `read -r word || { rm "$1" 2>/dev/null && echo "$2" >&2; }`;

/**
 * A shell beside each rank, in a session of its own, which says whose process ended first before its run did. MPICH's launcher tells a process's number
 * and no rank, and kills all others within moments: what hears of it in one of them comes too late. The shell does not, as the launcher takes a process
 * for ended when nobody holds its connections any more, and the shell has inherited them. For ranks of one machine.
 */
export class Witness {
  private shell: ChildProcess | undefined;
  /** The file that whoever says it takes away. */
  readonly mark: string;

  /** @param job What the job's ranks share, and nobody else has. */
  constructor(
    private readonly rank: number,
    job: string,
  ) {
    this.mark = join(tmpdir(), `steploom-${job}`);
  }

  runBegins(): void {
    if (process.platform === 'win32') return;
    try {
      if (this.rank === 0) writeFileSync(this.mark, '');
    } catch {
      // Where no file can be written nobody says it, as where there is no shell.
    }
    const what = `rank ${this.rank} ended before the run did`;
    const [said] = problemLines(new SteploomError({ code: LOST, plugin: 'mpi', what, fix: 'See what it printed last.' }));
    this.shell = spawn('sh', ['-c', SCRIPT, 'sh', this.mark, said], { stdio: ['pipe', 'ignore', 'inherit'], detached: true });
    for (const part of [this.shell, this.shell.stdin]) part?.on('error', () => undefined);
    this.shell.unref();
    (this.shell.stdin as unknown as { unref(): void }).unref();
  }

  /** The run has ended, well or with an error that this rank has told: nobody is lost who goes now. */
  runEnded(): void {
    rmSync(this.mark, { force: true });
    this.shell?.stdin?.end('ended\n');
  }
}
