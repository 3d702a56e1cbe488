import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, readlink, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { seededRandom } from '../../../../core/index.js';
import { readJson } from '../../../../plugins/persist/formats/files.js';
import { hubSettings } from '../../../../plugins/persist/formats/hub/settings.js';
import { hub, isHubName } from '../../../../plugins/persist/formats/hub.js';
import { COMMIT, type HubServer, hubServer, keyOf, send } from '../../../support/hub-server.js';

const NAME = 'some-one/a.model';
const large = { content: Buffer.from(Uint8Array.from({ length: 300_000 }, (_, i) => (i * 7 + (i >> 8)) & 255)), large: true };
const FILES = {
  'model_index.json': { content: Buffer.from('{"a": 1}') },
  'unet/weights.safetensors': large,
  'unet/never asked.safetensors': { content: Buffer.from('x'), large: true },
  'empty.txt': { content: Buffer.alloc(0) },
};
let server: HubServer;
let home: string;
beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'steploom-hub-'));
  server = await hubServer(NAME, FILES);
});
afterEach(async () => {
  await server.close();
  await rm(home, { recursive: true });
});

const root = () => join(home, 'hub', 'models--some-one--a.model');
const notes: string[] = [];
/** The repository, as a process sees it; pauses are not waited for. */
const opened = async (env: NodeJS.ProcessEnv = {}, revision?: string) => {
  notes.length = 0;
  const settings = await hubSettings({ HF_HOME: home, HF_ENDPOINT: `${server.endpoint}/`, ...env });
  return hub(NAME, { settings, revision, note: (what) => notes.push(what), pause: () => new Promise((goOn) => setTimeout(goOn, 1)) });
};
const all = async (files: Awaited<ReturnType<typeof opened>>) => Buffer.from((await files.read('unet/weights.safetensors')) ?? []);

test('names of the hub', () => {
  expect(['a/b', 'stable-diffusion-v1-5/stable-diffusion-v1-5', 'a_b/c.d-2'].map(isHubName)).toEqual([true, true, true]);
  expect(['a', '/a/b', './a', '../a', 'a/b/c', 'a/', '~/a', 'C:\\a/b'].map(isHubName)).toEqual(new Array(8).fill(false));
});

test('a file is fetched when it is read, into the cache as Python’s library lays it out, and then never again', async () => {
  const files = await opened({ HF_TOKEN: 'secret' });
  expect([await files.size('unet/weights.safetensors'), await files.size('absent')]).toEqual([300_000, null]);
  const listed = [`/api/models/${NAME}/revision/main`, ...new Array(3).fill(`/api/models/${NAME}/tree/${COMMIT}`)];
  expect(server.asked).toEqual(listed);
  expect(await files.range('unet/weights.safetensors', 1000, 1010)).toEqual(new Uint8Array(large.content.subarray(1000, 1010)));
  expect((await all(files)).equals(large.content)).toBe(true);
  expect(new TextDecoder().decode((await files.read('model_index.json')) ?? undefined)).toBe('{"a": 1}');
  expect([await files.read('absent'), await files.read('empty.txt')]).toEqual([null, new Uint8Array(0)]);
  // The token is the hub's alone.
  expect(server.tokensOfStore).toEqual([undefined]);
  expect(await readFile(join(root(), 'refs', 'main'), 'utf8')).toBe(COMMIT);
  expect(await readlink(join(root(), 'snapshots', COMMIT, 'unet', 'weights.safetensors'))).toBe(`../../../blobs/${keyOf(large)}`);
  expect((await readdir(join(root(), 'blobs'))).sort()).toEqual([FILES['model_index.json'], large, FILES['empty.txt']].map(keyOf).sort());
  expect(notes).toEqual([
    `fetching ${NAME}/unet/weights.safetensors (1 MiB)`,
    expect.stringContaining('index'),
    expect.stringContaining('empty'),
  ]);

  server.asked.length = 0;
  // Of a commit the hub is asked only for what is missing.
  const commit = await opened({}, COMMIT);
  expect([(await all(commit)).equals(large.content), await commit.size('model_index.json')]).toEqual([true, 8]);
  expect(server.asked).toEqual([]);
  expect(await commit.size('unet/never asked.safetensors')).toBe(1);
  expect(server.asked).toEqual([`/api/models/${NAME}/revision/${COMMIT}`, ...listed.slice(1)]);
});

/** What Python's library leaves of a repository of which one file was fetched. */
async function keepOne(place = root()): Promise<void> {
  const blobs = join(place, 'blobs');
  for (const path of [blobs, join(place, 'refs'), join(place, 'snapshots', COMMIT, 'unet')]) await mkdir(path, { recursive: true });
  await writeFile(join(place, 'refs', 'main'), COMMIT);
  await writeFile(join(blobs, keyOf(large)), large.content);
  await symlink(`../../../blobs/${keyOf(large)}`, join(place, 'snapshots', COMMIT, 'unet', 'weights.safetensors'));
}

test('without the hub, what is in the cache is used', async () => {
  await expect((await opened({ HF_HUB_OFFLINE: '1' })).size('x')).rejects.toThrow(
    /HUB_MISSING.*is not in .*hub, and HF_HUB_OFFLINE is set/,
  );
  await keepOne();
  for (const [env, revision] of [
    [{ HF_HUB_OFFLINE: 'true' }, undefined],
    [{ HF_HUB_OFFLINE: '1' }, COMMIT],
    [{}, 'main'],
  ] as const) {
    const files = await opened(env, revision);
    expect((await all(files)).equals(large.content)).toBe(true);
    expect(server.asked.filter((path) => !path.startsWith('/api'))).toEqual([]);
  }
  await expect(readJson(await opened({ HF_HUB_OFFLINE: '1' }), 'model_index.json')).rejects.toThrow(
    /FILE_MISSING.*a\.model\/model_index\.json is missing.*Only what is kept of it is used, since HF_HUB_OFFLINE is set\. Fetch it once with a network/,
  );
  const settings = await hubSettings({ HF_HOME: home, HF_HUB_OFFLINE: '1' });
  await expect(hub('runwayml/stable-diffusion-inpainting', { settings }).size('x')).rejects.toThrow(
    /HUB_MISSING.*HF_HUB_OFFLINE is set.*It has moved: give stable-diffusion-v1-5\/stable-diffusion-inpainting\./,
  );
  await server.close();
  const alone = await opened();
  expect((await all(alone)).equals(large.content)).toBe(true);
  expect([await alone.size('model_index.json'), await alone.read('model_index.json')]).toEqual([null, null]);
  await expect(alone.range('model_index.json', 0, 1)).rejects.toThrow(/FILE_MISSING.*Only what is kept.*cannot be reached/);
  expect(notes).toEqual([expect.stringMatching(/cannot be reached \(.*\): what is kept of some-one\/a\.model is used/)]);
});

test('what is kept is used where the hub refuses, no longer has it, or fails, and why is said once', async () => {
  await keepOne();
  for (const [status, code, why] of [
    [
      401,
      'RepoNotFound',
      /^there is no folder some-one\/a\.model here, and no model of that name on http.*: what is kept of some-one\/a\.model is used$/,
    ],
    [404, 'RevisionNotFound', /^some-one\/a\.model has no revision main: what is kept/],
    [403, 'GatedRepo', /is gated: what is kept/],
    [401, '', /refuses some-one\/a\.model \(401\): what is kept/],
    [429, '', /answers 429 for some-one\/a\.model, 5 times: what is kept/],
    [503, '', /answers 503/],
  ] as const) {
    server.instead = (_, response) => Boolean(response.writeHead(status, { 'X-Error-Code': code }).end());
    const files = await opened();
    expect((await all(files)).equals(large.content)).toBe(true);
    expect(await files.size('model_index.json')).toBeNull();
    expect(notes).toEqual([expect.stringMatching(why)]);
  }
  // Of another revision nothing is kept.
  await expect((await opened({}, 'v9')).size('x')).rejects.toThrow(/HUB_FAILED.*answers 503/);
});

test('a connection that breaks at any byte is opened again where it broke; a server without ranges sends all again', async () => {
  const random = seededRandom(3).named('breaks');
  let breaks = 6;
  server.insteadOfStore = (request, response) => {
    if (breaks-- <= 0) return false;
    const from = Number(/(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
    const upTo = from + random.integer(40_000);
    response.writeHead(from > 0 ? 206 : 200, { 'Content-Length': large.content.byteLength - from });
    // What has not been read when a connection breaks is lost.
    response.write(large.content.subarray(from, upTo), () => setTimeout(() => response.destroy(), 30));
    return true;
  };
  expect((await all(await opened())).equals(large.content)).toBe(true);
  expect(server.asked.filter((asked) => /^store bytes=[1-9]/.test(asked)).length).toBeGreaterThan(3);

  await rm(root(), { recursive: true });
  await mkdir(join(root(), 'blobs'), { recursive: true });
  await writeFile(join(root(), 'blobs', `${keyOf(large)}.steploom.incomplete`), 'what a killed process left');
  server.insteadOfStore = (request, response) => {
    delete request.headers.range;
    send(request, response, large.content);
    return true;
  };
  expect((await all(await opened())).equals(large.content)).toBe(true);
  expect(await readdir(join(root(), 'blobs'))).toEqual([keyOf(large)]);
});

test('what an earlier process got is used, or fetched again where it is damaged; what comes damaged is refused', async () => {
  const unfinished = join(root(), 'blobs', `${keyOf(large)}.steploom.incomplete`);
  await mkdir(join(root(), 'blobs'), { recursive: true });
  await writeFile(unfinished, large.content.subarray(0, 200_000));
  expect((await all(await opened())).equals(large.content)).toBe(true);
  expect(server.asked.filter((asked) => asked.startsWith('store'))).toEqual(['store bytes=200000-']);

  for (const left of [Buffer.alloc(200_000), Buffer.alloc(400_000), Buffer.alloc(300_000)]) {
    await rm(join(root(), 'blobs', keyOf(large)));
    await writeFile(unfinished, left);
    expect((await all(await opened())).equals(large.content)).toBe(true);
  }

  await rm(root(), { recursive: true });
  server.insteadOfStore = (request, response) => {
    send(request, response, Buffer.alloc(300_000));
    return true;
  };
  await expect(all(await opened())).rejects.toThrow(/HUB_FAILED.*came with other bytes than the hub says, twice/);
  expect(await readdir(join(root(), 'blobs'))).toEqual([]);
  server.insteadOfStore = (_, response) => {
    response.destroy();
    return true;
  };
  await expect(all(await opened())).rejects.toThrow(/HUB_FAILED.*weights\.safetensors cannot be reached/);
});

test('two at once fetch a file once', async () => {
  const both = await Promise.all([opened(), opened()]);
  for (const content of await Promise.all(both.map(all))) expect(content.equals(large.content)).toBe(true);
  expect(server.asked.filter((asked) => asked.startsWith('store'))).toHaveLength(1);
});

test('of two processes on one cache one is killed in the middle: the other goes on where it was, and the next finds all', async () => {
  const script = fileURLToPath(new URL('../../../support/fetch-from-hub.mjs', import.meta.url));
  const started = () => {
    const env = { ...process.env, HF_HOME: home, HF_ENDPOINT: server.endpoint };
    const child = spawn(process.execPath, [script, NAME, 'unet/weights.safetensors'], { env, stdio: ['ignore', 'pipe', 'inherit'] });
    const said: string[] = [];
    const begun = new Promise<void>((resolve) =>
      child.stdout.on('data', (text) => {
        said.push(String(text));
        resolve();
      }),
    );
    return { child, begun, ended: new Promise<string>((resolve) => child.once('close', (code) => resolve(`${code} ${said.join('')}`))) };
  };
  const unfinished = join(root(), 'blobs', `${keyOf(large)}.steploom.incomplete`);
  const size = () =>
    stat(unfinished).then(
      ({ size }) => size,
      () => 0,
    );
  server.insteadOfStore = (_, response) => {
    // The first never gets the rest.
    server.insteadOfStore = () => false;
    response.writeHead(200, { 'Content-Length': large.content.byteLength });
    response.write(large.content.subarray(0, 100_000));
    return true;
  };
  const first = started();
  await first.begun;
  while ((await size()) < 100_000) await new Promise((goOn) => setTimeout(goOn, 5));
  const second = started();
  await second.begun;
  first.child.kill('SIGKILL');
  expect(await first.ended).toMatch(/^null fetching/);
  expect(await second.ended).toMatch(new RegExp(`^0 fetching[^]*\\n${keyOf(large)}\\n$`));
  expect((await all(await opened())).equals(large.content)).toBe(true);
  expect(server.asked.filter((asked) => asked.startsWith('store'))).toEqual(['store', 'store bytes=100000-']);
  expect(await readdir(join(root(), 'blobs'))).toEqual([keyOf(large)]);
});

test('what the hub has against it is said, with what to do', async () => {
  const answer = (status: number, code?: string) => {
    server.instead = (_, response) => {
      response.writeHead(status, { ...(code ? { 'X-Error-Code': code } : {}), 'Retry-After': '7' }).end();
      return true;
    };
  };
  const said = async (env: NodeJS.ProcessEnv = {}) =>
    (await opened(env)).size('x').then(
      () => 'nothing',
      (error: Error) => error.message,
    );
  answer(403, 'GatedRepo');
  expect(await said()).toMatch(/HUB_REFUSED.*a\.model is gated.*Accept its terms at http.*a\.model, and set HF_TOKEN/);
  answer(401);
  expect(await said()).toMatch(/HUB_REFUSED.*\(401\).*Set HF_TOKEN\./);
  await writeFile(join(home, 'token'), 'mine\n');
  expect(await said()).toMatch(/HUB_REFUSED.*with the token that is set/);
  answer(429);
  server.asked.length = 0;
  expect(await said()).toMatch(/HUB_FAILED.*answers 429.*5 times.*wait/);
  expect(server.asked).toHaveLength(5);
  answer(500);
  expect(await said()).toMatch(/HUB_FAILED.*answers 500/);
  answer(418);
  expect(await said()).toMatch(/HUB_FAILED.*answers 418.*HF_ENDPOINT/);
  server.instead = (_, response) => {
    response.end('<html>');
    return true;
  };
  expect(await said()).toMatch(/HUB_FAILED.*does not list the files/);

  // One that is busy for a while is waited for, as long as it says.
  vi.useFakeTimers({ toFake: ['Date'], now: Date.UTC(2026, 0, 1) });
  const waits = ['7', 'Thu, 01 Jan 2026 00:05:00 GMT', '86400', 'soon'];
  const pauses: number[] = [];
  const said429: string[] = [];
  server.instead = (_, response) => waits.length > 0 && Boolean(response.writeHead(429, { 'Retry-After': waits.shift() }).end());
  const settings = await hubSettings({ HF_HOME: home, HF_ENDPOINT: server.endpoint });
  const pause = async (seconds: number) => void pauses.push(seconds);
  const patient = hub(NAME, { settings, pause, note: (what) => said429.push(what) });
  expect(await patient.size('model_index.json')).toBe(8);
  vi.useRealTimers();
  expect(pauses).toEqual([7, 300, 600, 8]);
  expect(said429).toEqual([300, 600].map((s) => `${server.endpoint} answers 429 for ${NAME}: it is asked again in ${s} s`));

  await expect(hub(NAME, { settings, revision: 'v9' }).size('x')).rejects.toThrow(/HUB_MISSING.*has no revision v9/);
  await expect(hub('runwayml/stable-diffusion-v1-5', { settings }).size('x')).rejects.toThrow(
    /HUB_MISSING.*no model of that name.*It has moved: give stable-diffusion-v1-5\/stable-diffusion-v1-5/,
  );
});

test('settings are those of Python’s library', async () => {
  expect(await hubSettings({ HOME: home, HF_HOME: join(home, 'no') })).toEqual({
    endpoint: 'https://huggingface.co',
    home: join(home, 'no'),
    cache: join(home, 'no', 'hub'),
    token: undefined,
    offline: false,
  });
  await writeFile(join(home, 'my-token'), ' abc\n');
  expect(
    await hubSettings({
      HF_HOME: home,
      HF_HUB_CACHE: '/else',
      HF_TOKEN_PATH: join(home, 'my-token'),
      HF_HUB_OFFLINE: 'ON',
      HF_ENDPOINT: 'http://x/',
    }),
  ).toEqual({ endpoint: 'http://x', home, cache: '/else', token: 'abc', offline: true });
  expect((await hubSettings({ HF_HOME: home, XDG_CACHE_HOME: '/x', HF_TOKEN: 'other' })).token).toBe('other');
  expect((await hubSettings({ XDG_CACHE_HOME: '/x' })).cache).toBe('/x/huggingface/hub');
});
