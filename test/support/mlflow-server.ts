import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { type AddressInfo, createServer as createSocket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A run as a server of MLflow has it. */
export interface SeenRun {
  readonly name: string;
  readonly status: string;
  readonly params: Readonly<Record<string, string>>;
  /** Of each metric its points: step and value, in the order of steps. */
  readonly metrics: Readonly<Record<string, readonly (readonly [step: number, value: number])[]>>;
  readonly artifacts: readonly string[];
}

/** A server of MLflow to test with. */
export interface MlflowServer {
  readonly trackingUri: string;
  /** The runs of an experiment, the first first. */
  runs(experiment: string): Promise<SeenRun[]>;
  close(): Promise<void>;
}

/** One of our own, with what tests change of it. */
export interface OwnMlflowServer extends MlflowServer {
  /** Another answer, for a test; true where it has answered. */
  instead: (request: IncomingMessage, response: ServerResponse, path: string) => boolean;
  /** What was asked for, and with which Authorization. */
  readonly asked: { readonly path: string; readonly authorization: string | undefined }[];
}

interface Run {
  readonly id: string;
  readonly experiment: string;
  readonly tags: Map<string, string>;
  readonly params: Map<string, string>;
  readonly points: { key: string; step: number; value: number | string }[];
  readonly artifacts: Map<string, number>;
  name: string;
  status: string;
}

/** A number as JSON, or JSON's stand-in, has it. */
const number = (value: number | string): number => (value === 'NaN' ? Number.NaN : Number(value));

const pointsOf = (points: readonly { key: string; step: number; value: number | string }[]): SeenRun['metrics'] => {
  const metrics: Record<string, [number, number][]> = {};
  for (const { key, step, value } of points) {
    metrics[key] ??= [];
    metrics[key].push([Number(step), number(value)]);
  }
  for (const list of Object.values(metrics)) list.sort(([a], [b]) => a - b);
  return metrics;
};

/** Starts a server that keeps runs in memory, and refuses what MLflow's would. */
export async function ownMlflowServer(): Promise<OwnMlflowServer> {
  const experiments = new Map([['Default', '0']]);
  const runs: Run[] = [];
  const asked: OwnMlflowServer['asked'] = [];
  const own = { instead: (() => false) as OwnMlflowServer['instead'] };
  const shown = ({ id, name, status, params }: Run) => ({
    info: { run_id: id, run_name: name, status, artifact_uri: `mlflow-artifacts:/0/${id}/artifacts` },
    data: { params: [...params].map(([key, value]) => ({ key, value })) },
  });
  class Fault extends Error {
    constructor(
      readonly status: number,
      readonly code: string,
    ) {
      super(code);
    }
  }
  const byId = (id: unknown) => {
    const found = runs.find((run) => run.id === id);
    if (!found) throw new Fault(404, 'RESOURCE_DOES_NOT_EXIST');
    return found;
  };
  // biome-ignore lint/suspicious/noExplicitAny: what a client sends.
  const answers: Record<string, (body: any, query: URLSearchParams) => unknown> = {
    'experiments/get-by-name': (_, query) => {
      const id = experiments.get(query.get('experiment_name') ?? '');
      if (id === undefined) throw new Fault(404, 'RESOURCE_DOES_NOT_EXIST');
      return { experiment: { experiment_id: id, lifecycle_stage: 'active' } };
    },
    'experiments/create': ({ name }) => {
      if (experiments.has(name)) throw new Fault(400, 'RESOURCE_ALREADY_EXISTS');
      experiments.set(name, String(experiments.size));
      return { experiment_id: experiments.get(name) };
    },
    'runs/search': ({ experiment_ids, filter }) => {
      const [, tag, value] = /^tags\.`(.+)` = '(.*)'$/.exec(filter) ?? [];
      return { runs: runs.filter((run) => experiment_ids.includes(run.experiment) && run.tags.get(tag) === value).map(shown) };
    },
    'runs/create': ({ experiment_id, run_name, tags }) => {
      const run: Run = {
        id: `run-${runs.length}`,
        experiment: experiment_id,
        tags: new Map(tags.map(({ key, value }: { key: string; value: string }) => [key, value])),
        params: new Map(),
        points: [],
        artifacts: new Map(),
        name: run_name,
        status: 'RUNNING',
      };
      runs.push(run);
      return { run: shown(run) };
    },
    'runs/get': (_, query) => ({ run: shown(byId(query.get('run_id'))) }),
    'runs/update': ({ run_id, status }) => {
      byId(run_id).status = status;
      return {};
    },
    'runs/log-batch': ({ run_id, metrics = [], params = [] }) => {
      const run = byId(run_id);
      const isFit = (key: string) => /^[\w\-./ ]{1,250}$/.test(key);
      if (metrics.length > 1000 || params.length > 100 || !metrics.every((one: { key: string }) => isFit(one.key)))
        throw new Fault(400, 'INVALID_PARAMETER_VALUE');
      for (const { key, value } of params) {
        if (!isFit(key) || value.length > 6000 || (run.params.get(key) ?? value) !== value) throw new Fault(400, 'INVALID_PARAMETER_VALUE');
        run.params.set(key, value);
      }
      run.points.push(...metrics);
      return {};
    },
  };
  const server = createServer(async (request, response) => {
    const url = new URL(request.url ?? '', 'http://mlflow');
    const path = url.pathname.replace(/^\/api\/2\.0\/(mlflow\/)?/, '');
    asked.push({ path, authorization: request.headers.authorization });
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    if (own.instead(request, response, path)) return;
    const answer = (status: number, body: object) =>
      response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(body));
    try {
      const [, id, artifact] = /^mlflow-artifacts\/artifacts\/0\/([^/]+)\/artifacts\/(.+)$/.exec(path) ?? [];
      const text = Buffer.concat(chunks).toString();
      if (request.method === 'PUT' && id !== undefined) {
        byId(id).artifacts.set(
          decodeURIComponent(artifact),
          chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0),
        );
        answer(200, {});
      } else if (path in answers) answer(200, answers[path](text === '' ? {} : JSON.parse(text), url.searchParams) as object);
      else answer(404, { error_code: 'ENDPOINT_NOT_FOUND', message: path });
    } catch (error) {
      const { status, code } = error as Fault;
      answer(status, { error_code: code, message: 'not so' });
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return Object.assign(own, {
    trackingUri: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    runs: async (experiment: string) =>
      runs
        .filter((run) => run.experiment === experiments.get(experiment))
        .map(({ name, status, params, points, artifacts }) => ({
          name,
          status,
          params: Object.fromEntries(params),
          metrics: pointsOf(points),
          artifacts: [...artifacts.keys()].sort(),
        })),
    close: async () => {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    },
  });
}

/** Whether MLflow's own server is installed here; what is missing is named in one line. */
export function hasMlflow(): boolean {
  const found = spawnSync('mlflow', ['--version']).status === 0;
  if (!found) console.log('not tested here: a real MLflow server (mlflow is not installed)');
  return found;
}

/** Starts MLflow's own server, in a folder of its own. */
export async function realMlflowServer(): Promise<MlflowServer> {
  const folder = await mkdtemp(join(tmpdir(), 'steploom-mlflow-'));
  const port = await new Promise<number>((resolve) => {
    const socket = createSocket().listen(0, '127.0.0.1', () => {
      const { port: free } = socket.address() as AddressInfo;
      socket.close(() => resolve(free));
    });
  });
  const trackingUri = `http://127.0.0.1:${port}`;
  const flags = ['--backend-store-uri', `sqlite:///${folder}/runs.sqlite`, '--artifacts-destination', join(folder, 'artifacts')];
  const env = { ...process.env };
  for (const name of Object.keys(env)) if (name.startsWith('MLFLOW_')) delete env[name];
  // A group of its own: its workers end with it.
  const server: ChildProcess = spawn('mlflow', ['server', ...flags, '--host', '127.0.0.1', '--port', String(port), '--workers', '1'], {
    env,
    stdio: 'ignore',
    detached: true,
  });
  const ended = once(server, 'exit');
  const close = async () => {
    if (server.exitCode === null) process.kill(-(server.pid as number), 'SIGTERM');
    await ended;
    await rm(folder, { recursive: true });
  };
  const isThere = () =>
    fetch(`${trackingUri}/health`).then(
      ({ ok }) => ok,
      () => false,
    );
  while (!(await isThere())) {
    if (server.exitCode !== null) throw new Error(`mlflow server ended with ${server.exitCode}`);
    await new Promise((goOn) => setTimeout(goOn, 200));
  }
  const call = async (path: string, body?: object) => {
    const request = body ? { method: 'POST', body: JSON.stringify(body), headers: { 'Content-Type': 'application/json' } } : {};
    return (await fetch(`${trackingUri}/api/2.0/mlflow/${path}`, request)).json();
  };
  return {
    trackingUri,
    async runs(experiment) {
      const { experiment: found } = await call(`experiments/get-by-name?experiment_name=${experiment}`);
      const { runs } = await call('runs/search', { experiment_ids: [found.experiment_id], order_by: ['attributes.start_time ASC'] });
      return Promise.all(
        // biome-ignore lint/suspicious/noExplicitAny: what MLflow answers.
        runs.map(async ({ info, data }: any) => {
          const files = async (below: string): Promise<string[]> => {
            const { files: found = [] } = await call(`artifacts/list?run_id=${info.run_id}&path=${below}`);
            const lists = found.map(({ path, is_dir }: { path: string; is_dir: boolean }) => (is_dir ? files(path) : [path]));
            return (await Promise.all(lists)).flat();
          };
          const histories = (data.metrics ?? []).map(
            async ({ key }: { key: string }) => (await call(`metrics/get-history?run_id=${info.run_id}&metric_key=${key}`)).metrics,
          );
          return {
            name: info.run_name,
            status: info.status,
            params: Object.fromEntries((data.params ?? []).map(({ key, value }: { key: string; value: string }) => [key, value])),
            metrics: pointsOf((await Promise.all(histories)).flat()),
            artifacts: (await files('')).sort(),
          };
        }),
      );
    },
    close,
  };
}
