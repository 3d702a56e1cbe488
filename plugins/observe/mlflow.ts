import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Host, messageOf } from '../../core/index.js';
import { watchEnding } from '../persist/folders/ending.js';
import { adaptersIn } from '../persist/folders/results.js';
import { isDue } from './logs/cadence.js';
import { NewPictures } from './logs/new-pictures.js';
import { Away, MlflowClient, Refused } from './mlflow/client.js';
import { Outbox } from './mlflow/outbox.js';
import { METRICS_AT_ONCE, type Metric, MlflowRun } from './mlflow/run.js';
import { checkAddress, type MlflowSettings, mlflowSettings } from './mlflow/settings.js';

export interface MlflowOptions {
  /** Every so many steps. */
  readonly every?: number;
  /** The run's parameters there. */
  readonly options?: Readonly<Record<string, unknown>>;
  /** A folder whose grid*.png are sent as they come, and whose adapters (.safetensors, also those in averaged/) when the run has ended. */
  readonly folder?: string;
  /** What a new run is called there, where MLFLOW_RUN_NAME does not say it. */
  readonly name?: string;
  /** Where the server is; what the environment says by default. */
  readonly settings?: MlflowSettings;
  /** Seconds that a run's end waits for a server that is away. */
  readonly patience?: number;
  /** Seconds until a second attempt at a server that is away; those until the next are twice as many each time, up to a minute. */
  readonly pause?: number;
}

/** Numbers that are kept while the server is away. */
const MOST = 100_000;
/** What the server calls how a run has ended. */
const STATES = { done: 'FINISHED', stopped: 'KILLED', failed: 'FAILED' } as const;
/** A file that the server answers with a fault so often is not sent: what is behind it must not wait for it forever. */
const TRIES = 6;
/** The longest pause between attempts, in seconds. */
const LONGEST = 60;

/**
 * Tells an MLflow server of the run, over its REST API: options as parameters, every number of the log as metrics, pictures and the adapter as artifacts
 * (where the server stores them itself), and how it ended. A resumed run goes on in the same run there, and logs the steps that it makes again once more.
 * It never stops a run, nor holds it up before its end: what a server that is away has missed is kept (the newest 100,000 numbers) and sent when it answers again;
 * one that refuses is said once. Needs Node.
 */
export const mlflow = ({
  every = 10,
  options = {},
  folder,
  name = 'steploom',
  settings = mlflowSettings(),
  patience = 10,
  pause = 1,
}: MlflowOptions = {}) => ({
  name: 'mlflow',
  metrics: [],
  // What they write when a run ends is there by then.
  after: ['samples'],
  async apply(host: Host) {
    const { hooks, isFirstRank, startStep, runId, warn } = host;
    const ending = watchEnding(host);
    hooks.validate.tap((problems) => {
      const check = problems.options('mlflow');
      check.whole('every', every, 1);
      check.notNegative('patience', patience);
      check.positive('pause', pause);
      checkAddress(settings, problems);
    });
    const grids = folder === undefined ? null : new NewPictures(folder);
    // An earlier run's, or sent already before this one was resumed.
    await grids?.skip();

    /** Before onStart, and on other ranks, there is none. */
    let told: { readonly run: MlflowRun; readonly outbox: Outbox<Metric> } | null = null;
    const said = new Set<string>();
    const once = (what: string) => {
      if (!said.has(what)) warn(what);
      said.add(what);
    };
    /** Whether the server is away; and whether the run is there, whose parts may be refused one by one. */
    const now = { isAway: false, isOpen: false };
    const answered = () => {
      if (now.isAway) warn('the server answers again: what was kept is being sent');
      now.isAway = false;
    };
    const judge = (error: unknown) => {
      if (error instanceof Away) {
        if (!now.isAway) warn(`${error.message}: what there is to log is kept, and sent when it answers`);
        now.isAway = true;
        return 'again';
      }
      const isForAll = !now.isOpen || (error instanceof Refused && error.isForAll);
      once(`${messageOf(error)}${isForAll ? '; nothing more is sent to it' : ''}`);
      return isForAll ? 'end' : 'drop';
    };
    const begun = () => {
      const run = new MlflowRun(new MlflowClient(settings), settings, runId(), name);
      const outbox = new Outbox<Metric>(
        { take: (metrics) => run.log(metrics).then(answered), judge },
        { batch: METRICS_AT_ONCE, most: MOST, pause: (attempt) => Math.min(LONGEST, pause * 2 ** attempt) * 1000 },
      );
      outbox.work(async () => {
        await run.open();
        now.isOpen = true;
        answered();
      });
      return { run, outbox };
    };
    /** Read when it is sent: what waits takes no memory. */
    const send = (path: string, as: string) => {
      let faults = 0;
      told?.outbox.work(async () => {
        try {
          await told?.run.keep(as, new Uint8Array(await readFile(path)));
        } catch (error) {
          if (error instanceof Away && error.isAnswer && ++faults === TRIES)
            throw new Refused(`${error.message} to ${as}, ${TRIES} times: it is not sent`);
          throw error;
        }
      });
    };
    const sendPictures = async () => {
      for (const { name: picture, path, see } of (await grids?.list()) ?? []) {
        see();
        send(path, picture);
      }
    };

    hooks.onStart.tapPromise(async () => {
      if (!isFirstRank()) return;
      told = begun();
      const { run, outbox } = told;
      outbox.work(() => run.tell(options, startStep()));
      await sendPictures();
    });
    hooks.shouldLog.tap((position) => (isFirstRank() && isDue(position, every) ? true : undefined));
    hooks.onRecord.tap((record) => {
      const timestamp = Date.now();
      const step = Number(record.step);
      const numbers = Object.entries(record).filter(
        (entry): entry is [string, number] => entry[0] !== 'step' && typeof entry[1] === 'number',
      );
      told?.outbox.add(numbers.map(([key, value]) => ({ key, value, timestamp, step })));
    });
    hooks.onEvaluate.tapPromise(async (metrics) => {
      await sendPictures();
      return metrics;
    });
    hooks.onDispose.tapPromise(async () => {
      if (!told) return;
      const { run, outbox } = told;
      const state = STATES[ending()?.outcome ?? 'failed'];
      await sendPictures();
      if (folder !== undefined && state !== 'FAILED') for (const path of await adaptersIn(folder)) send(join(folder, path), path);
      outbox.work(() => run.end(state));
      const { records, works } = await outbox.close(patience * 1000);
      told = null;
      if (records + works + outbox.dropped > 0)
        warn(`${records + outbox.dropped} numbers and ${works} other things, files among them, were not sent: the server is away`);
    });
  },
});
