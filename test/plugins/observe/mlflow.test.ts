import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Plugin, Trainer } from '../../../core/index.js';
import { Outbox } from '../../../plugins/observe/mlflow/outbox.js';
import { mlflowSettings } from '../../../plugins/observe/mlflow/settings.js';
import { type MlflowOptions, mlflow } from '../../../plugins/observe/mlflow.js';
import { hasMlflow, type MlflowServer, ownMlflowServer, realMlflowServer } from '../../support/mlflow-server.js';
import { memoryStore, smallRun, stopAfter } from '../../support/small-run.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'steploom-tracked-'));
});
afterAll(() => rm(folder, { recursive: true }));

/** Trains with the tracker, as the run `id`; what is warned of. */
async function tracked(id: string, options: MlflowOptions, ...more: Plugin[]): Promise<string[]> {
  const warned: string[] = [];
  const composition = smallRun({ steps: 4 }).with(mlflow({ every: 1, patience: 0, ...options }), ...more);
  await new Trainer(composition, { runId: id, warn: (text) => warned.push(text) }).train();
  return warned;
}

const throwing = (): Plugin => ({
  name: 'throwing',
  apply: ({ hooks }) =>
    hooks.afterStep.tap((step) => {
      if (step === 1) throw new Error('broken');
    }),
});
/** Asks for a stop as a signal does. */
const signalled = (): Plugin => ({ name: 'signalled', apply: ({ hooks, request }) => hooks.afterStep.tap(() => request('stop')) });

const servers: [string, () => Promise<MlflowServer>][] = [
  ['a server of our own', ownMlflowServer],
  ...(hasMlflow() ? [['MLflow’s server', realMlflowServer] as [string, () => Promise<MlflowServer>]] : []),
];

describe.each(servers)('%s', (_, start) => {
  let server: MlflowServer;
  beforeAll(async () => {
    server = await start();
  });
  afterAll(() => server.close());

  test('has parameters, metrics, pictures, the adapter and how a run ended; one that is resumed goes on in the same', async () => {
    const settings = { trackingUri: `${server.trackingUri}/`, experimentName: 'some runs' };
    const into = join(folder, new URL(server.trackingUri).port);
    await mkdir(join(into, 'averaged'), { recursive: true });
    await writeFile(join(into, 'grid-0.png'), 'of an earlier run');
    await writeFile(join(into, 'pytorch_lora_weights.safetensors'), 'the adapter');
    await writeFile(join(into, 'averaged', 'pytorch_lora_weights.safetensors'), 'the average');
    const drawing = (): Plugin => ({
      name: 'samples',
      apply: ({ hooks, startStep }) => hooks.onEnd.tapPromise(() => writeFile(join(into, `grid-${startStep() + 2} é.png`), 'drawn')),
    });
    const odd = (): Plugin => ({
      name: 'odd',
      apply: ({ hooks }) => hooks.onLog.tap((record) => ({ ...record, 'loss*of': Number.NaN, most: Number.POSITIVE_INFINITY })),
    });
    const many = Object.fromEntries(Array.from({ length: 230 }, (_, i) => [`option_${i}`, i]));
    const options = { folder: into, settings, name: 'first', options: { ...many, text: 'a'.repeat(9000), list: ['x'], none: undefined } };
    const store = memoryStore(2);
    expect(await tracked('one', options, drawing(), odd(), store.plugin, stopAfter(2))).toEqual([]);
    const [first] = await server.runs('some runs');
    expect([first.name, first.status, Object.keys(first.params).length]).toEqual(['first', 'FINISHED', 233]);
    expect([first.params.option_229, first.params.list, first.params.text.length]).toEqual(['229', '["x"]', 6000]);
    expect(first.metrics.loss.map(([step]) => step)).toEqual([1, 2]);
    expect([first.metrics['loss_of'][0][1], first.metrics.most[0][1]]).toEqual([Number.NaN, expect.any(Number)]);
    expect(first.artifacts).toEqual(['averaged/pytorch_lora_weights.safetensors', 'grid-2 é.png', 'pytorch_lora_weights.safetensors']);

    const resumed = { ...options, options: { ...options.options, option_7: 8 } };
    expect(await tracked('other', resumed, drawing(), odd(), memoryStore(9, { ...store.snapshots[0], runId: 'one' }).plugin)).toEqual([]);
    const [again, none] = await server.runs('some runs');
    expect(none).toBeUndefined();
    expect(again.metrics.loss.map(([step]) => step)).toEqual([1, 2, 3, 4]);
    expect([again.status, again.params.option_7, again.params['option_7 from step 2']]).toEqual(['FINISHED', '7', '8']);
    expect(again.artifacts).toContain('grid-4 é.png');
  });

  test('knows of runs that failed or were stopped', async () => {
    const settings = { trackingUri: server.trackingUri, experimentName: 'ends' };
    await expect(tracked('failing', { settings, name: 'a' }, throwing())).rejects.toThrow('broken');
    expect(await tracked('stopped', { settings, name: 'b' }, signalled())).toEqual([]);
    expect((await server.runs('ends')).map(({ name, status }) => [name, status])).toEqual([
      ['a', 'FAILED'],
      ['b', 'KILLED'],
    ]);
  });
});

test('a server that is away is said once; what was logged is sent when it answers, or not at the end', async () => {
  const server = await ownMlflowServer();
  try {
    const settings = { trackingUri: server.trackingUri };
    let refusals = 3;
    server.instead = (request, response) => {
      if (refusals-- <= 0) return false;
      // Busy, then a connection that breaks.
      if (refusals === 1) request.socket.destroy();
      else response.writeHead(503).end();
      return true;
    };
    const warned = await tracked('late', { settings, patience: 30, pause: 0.01 });
    expect(warned).toEqual([
      expect.stringMatching(/^mlflow: http:\/\/127.*answers 503: what there is to log is kept, and sent when it answers$/),
      expect.stringMatching(/answers again/),
    ]);
    const [run] = await server.runs('Default');
    expect([run.status, run.metrics.loss.length]).toEqual(['FINISHED', 4]);
    server.instead = (_, response) => Boolean(response.writeHead(500).end());
    expect(await tracked('never', { settings })).toEqual([
      expect.stringMatching(/answers 500/),
      expect.stringMatching(/\d\d numbers and 3 other things, files among them, were not sent/),
    ]);
  } finally {
    await server.close();
  }
  expect(await tracked('gone', { settings: { trackingUri: server.trackingUri } })).toEqual([
    expect.stringMatching(/cannot be reached \(.*\): what there is to log is kept/),
    expect.stringMatching(/were not sent: the server is away/),
  ]);
});

test('what a server refuses is said once, and no run ends of it', async () => {
  const server = await ownMlflowServer();
  try {
    const settings = { trackingUri: server.trackingUri, token: 'secret' };
    server.instead = (_, response) => Boolean(response.writeHead(401).end('no'));
    expect(await tracked('unknown', { settings })).toEqual([
      expect.stringMatching(/answers 401 to mlflow\/experiments.*; nothing more is sent to it$/),
    ]);
    expect(server.asked).toEqual([{ path: 'experiments/get-by-name', authorization: 'Bearer secret' }]);

    server.instead = (_, response) => Boolean(response.end('<html>'));
    expect(await tracked('page', { settings })).toEqual([expect.stringMatching(/does not answer as an MLflow server/)]);

    // Numbers that it will not have, in each call: the rest goes on.
    server.instead = (_, response, path) =>
      path === 'runs/log-batch' && Boolean(response.writeHead(400).end(JSON.stringify({ error_code: 'INVALID', message: 'no' })));
    server.asked.length = 0;
    const inAddress = { trackingUri: server.trackingUri.replace('//', '//me:p%40ss@') };
    expect(await tracked('partly', { settings: inAddress, options: { a: 1 } })).toEqual([
      expect.stringMatching(/answers 400 to mlflow\/runs\/log-batch: INVALID, no$/),
    ]);
    expect(server.asked[0].authorization).toBe(`Basic ${Buffer.from('me:p@ss').toString('base64')}`);
    expect((await server.runs('Default')).map(({ status }) => status)).toEqual(['FINISHED']);

    // A run that the user names.
    server.instead = () => false;
    await tracked('named', { settings: { ...settings, runId: 'run-0' } });
    const [run, none] = await server.runs('Default');
    expect([run.metrics.loss.length, none]).toEqual([4, undefined]);
    expect(await tracked('wrong', { settings: { ...settings, runId: 'run-9' } })).toEqual([
      expect.stringMatching(/RESOURCE_DOES_NOT_EXIST.*nothing more/),
    ]);

    // A file that it cannot keep: it is given up, and what is behind it comes.
    server.instead = (_, response, path) => path.startsWith('mlflow-artifacts') && Boolean(response.writeHead(500).end());
    const into = join(folder, 'fileless');
    await mkdir(into);
    await writeFile(join(into, 'pytorch_lora_weights.safetensors'), 'the adapter');
    expect(await tracked('fileless', { settings, folder: into, pause: 0.001, patience: 30 })).toEqual([
      expect.stringMatching(/answers 500: what there is to log is kept/),
      expect.stringMatching(/answers 500 to pytorch_lora_weights.safetensors, 6 times: it is not sent$/),
    ]);
    expect((await server.runs('Default')).map(({ status }) => status)).toEqual(['FINISHED', 'FINISHED']);
  } finally {
    await server.close();
  }
});

test('without a server’s address, or with one of another kind, nothing is trained', async () => {
  await expect(tracked('x', { settings: {} })).rejects.toThrow(/OPTION_MISSING \(mlflow\): no server is named.*MLFLOW_TRACKING_URI/);
  await expect(tracked('x', { settings: { trackingUri: 'sqlite:///runs.db' } })).rejects.toThrow(
    /OPTION_INVALID \(mlflow\).*begins with sqlite:/,
  );
  await expect(tracked('x', { settings: { trackingUri: 'localhost' } })).rejects.toThrow(/OPTION_INVALID \(mlflow\).*address is none/);
});

test('settings are those of MLflow’s client', () => {
  expect(
    mlflowSettings({
      MLFLOW_TRACKING_URI: 'http://a',
      MLFLOW_EXPERIMENT_NAME: 'b',
      MLFLOW_RUN_ID: 'c',
      MLFLOW_RUN_NAME: '',
      MLFLOW_TRACKING_TOKEN: 'd',
      MLFLOW_TRACKING_USERNAME: 'e',
      MLFLOW_TRACKING_PASSWORD: 'f',
      MLFLOW_EXPERIMENT_ID: '7',
    }),
  ).toEqual({
    trackingUri: 'http://a',
    experimentName: 'b',
    experimentId: '7',
    runId: 'c',
    runName: undefined,
    token: 'd',
    username: 'e',
    password: 'f',
  });
});

test('of what waits for a server the oldest goes, work never', async () => {
  const sent: (number | string)[][] = [];
  let isAway = true;
  const outbox = new Outbox<number>(
    {
      take: async (records) => {
        if (isAway) throw new Error('away');
        sent.push([...records]);
      },
      judge: () => 'again',
    },
    { batch: 3, most: 5, pause: () => 1 },
  );
  outbox.add([1, 2]);
  outbox.work(async () => void sent.push(['work']));
  for (let i = 3; i <= 9; i++) {
    outbox.add([i]);
    await new Promise((goOn) => setTimeout(goOn, 2));
  }
  isAway = false;
  expect(await outbox.close(1000)).toEqual({ records: 0, works: 0 });
  expect([sent, outbox.dropped]).toEqual([[['work'], [5, 6, 7], [8, 9]], 4]);
});
