import { userInfo } from 'node:os';
import { z } from 'zod';
import { type MlflowClient, Refused } from './client.js';
import type { MlflowSettings } from './settings.js';

/** How a run ended, as MLflow has it. */
export type EndState = 'FINISHED' | 'FAILED' | 'KILLED';

/** One number of the log. `timestamp` is in milliseconds. */
export interface Metric {
  readonly key: string;
  readonly value: number;
  readonly timestamp: number;
  readonly step: number;
}

/** What the REST API takes in one call: of metrics, and of parameters. */
export const METRICS_AT_ONCE = 1000;
const PARAMS_AT_ONCE = 100;
/** Letters of a parameter's value. */
const VALUE = 6000;
const NAME = 250;
/** The tag that names our run, by which one that is resumed finds its own. */
const TAG = 'steploom.run';

const runAnswer = z.object({
  info: z.object({ run_id: z.string(), artifact_uri: z.string() }),
  data: z.object({ params: z.array(z.object({ key: z.string(), value: z.string() })).optional() }).optional(),
});
const experimentAnswer = z.object({ experiment: z.object({ experiment_id: z.string(), lifecycle_stage: z.string().optional() }) });

/** Names as MLflow allows them: letters, digits, and _ - . / and spaces. */
const named = (name: string): string => name.replace(/[^\w\-./ ]/g, '_').slice(0, NAME);

/** Numbers that JSON lacks are told by name. */
const asNumber = (value: number): number | string =>
  Number.isFinite(value) ? value : Number.isNaN(value) ? 'NaN' : value > 0 ? 'Infinity' : '-Infinity';

/** A run of MLflow's, which is that of a run of ours, however often that is resumed. Open it first. */
export class MlflowRun {
  private id = '';
  /** Below the server's store of artifacts; null where the run keeps them elsewhere. */
  private place: string | null = null;
  private params = new Map<string, string>();

  constructor(
    private readonly client: MlflowClient,
    private readonly settings: MlflowSettings,
    /** Our run's id. */
    private readonly ours: string,
    private readonly name: string,
  ) {}

  /** Finds the run, or makes it; made twice, it is the same. */
  async open(): Promise<void> {
    const found = this.settings.runId === undefined ? await this.search() : await this.get(this.settings.runId);
    if (found) await this.client.call('runs/update', { run_id: found.info.run_id, status: 'RUNNING' });
    const { info, data } = found ?? (await this.create());
    this.id = info.run_id;
    const [, place] = /^mlflow-artifacts:\/(?:\/\/)?([^/].*)$/.exec(info.artifact_uri) ?? [];
    this.place = place ?? null;
    this.params = new Map((data?.params ?? []).map(({ key, value }) => [key, value]));
  }

  private async get(id: string): Promise<z.output<typeof runAnswer>> {
    const answer = await this.client.call(`runs/get?run_id=${encodeURIComponent(id)}`);
    return z.object({ run: runAnswer }).parse(answer).run;
  }

  private async search(): Promise<z.output<typeof runAnswer> | undefined> {
    const answer = await this.client.call('runs/search', {
      experiment_ids: [await this.experiment()],
      filter: `tags.\`${TAG}\` = '${this.ours}'`,
      max_results: 1,
    });
    return z.object({ runs: z.array(runAnswer).optional() }).parse(answer).runs?.[0];
  }

  private async create(): Promise<z.output<typeof runAnswer>> {
    const answer = await this.client.call('runs/create', {
      experiment_id: await this.experiment(),
      run_name: this.settings.runName ?? this.name,
      start_time: Date.now(),
      tags: Object.entries({ [TAG]: this.ours, 'mlflow.source.name': 'steploom', 'mlflow.user': userInfo().username }).map(
        ([key, value]) => ({ key, value }),
      ),
    });
    return z.object({ run: runAnswer }).parse(answer).run;
  }

  private async experiment(): Promise<string> {
    const { experimentId, experimentName = 'Default' } = this.settings;
    if (experimentId !== undefined) return experimentId;
    const ask = async () =>
      experimentAnswer.parse(await this.client.call(`experiments/get-by-name?experiment_name=${encodeURIComponent(experimentName)}`))
        .experiment;
    const whether = (code: string) => (error: unknown) => {
      if (error instanceof Refused && error.code === code) return null;
      throw error;
    };
    const found = await ask().catch(whether('RESOURCE_DOES_NOT_EXIST'));
    if (found?.lifecycle_stage === 'deleted')
      throw new Refused(`the experiment ${experimentName} is deleted: restore it, or set another MLFLOW_EXPERIMENT_NAME`);
    if (found) return found.experiment_id;
    // Another process may make it meanwhile.
    await this.client.call('experiments/create', { name: experimentName }).catch(whether('RESOURCE_ALREADY_EXISTS'));
    return (await ask()).experiment_id;
  }

  /** Tells what the run was given. A value cannot be changed there: what a resumed run changes stands beside it, with the step. */
  async tell(values: Readonly<Record<string, unknown>>, step: number): Promise<void> {
    const wanted = Object.entries(values).flatMap(([name, value]) => {
      const [key, text] = [named(name), (typeof value === 'string' ? value : (JSON.stringify(value) ?? '')).slice(0, VALUE)];
      const known = this.params.get(key);
      if (known === text) return [];
      return [{ key: known === undefined ? key : named(`${key} from step ${step}`), value: text }];
    });
    for (let from = 0; from < wanted.length; from += PARAMS_AT_ONCE)
      await this.client.call('runs/log-batch', { run_id: this.id, params: wanted.slice(from, from + PARAMS_AT_ONCE) });
  }

  /** Logs numbers, at most METRICS_AT_ONCE. */
  async log(metrics: readonly Metric[]): Promise<void> {
    const told = metrics.map(({ key, value, ...more }) => ({ key: named(key), value: asNumber(value), ...more }));
    await this.client.call('runs/log-batch', { run_id: this.id, metrics: told });
  }

  /** Keeps a file with the run. */
  async keep(name: string, content: Uint8Array<ArrayBuffer>): Promise<void> {
    if (this.place === null)
      throw new Refused('the server keeps artifacts where only MLflow’s own client can: pictures and adapters are not sent to it');
    await this.client.upload(`${this.place}/${name}`, content);
  }

  async end(status: EndState): Promise<void> {
    await this.client.call('runs/update', { run_id: this.id, status, end_time: Date.now() });
  }
}
