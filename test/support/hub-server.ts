import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A file of a repository; large ones are named by their SHA-256, as on the hub, and come from another server. */
export interface ServedFile {
  readonly content: Buffer;
  readonly large?: boolean;
}

export const COMMIT = 'c0ffee'.padEnd(40, '0');
export const sha256Of = (content: Buffer) => createHash('sha256').update(content).digest('hex');
const gitSha1 = (content: Buffer) => createHash('sha1').update(`blob ${content.byteLength}\0`).update(content).digest('hex');
export const keyOf = ({ content, large }: ServedFile) => (large ? sha256Of(content) : gitSha1(content));

/** The one that the hub makes of every data set is there, too. */
const REVISIONS = ['main', COMMIT, encodeURIComponent('refs/convert/parquet')];

/** Answers in place of the usual; true where it has. */
type Instead = (request: IncomingMessage, response: ServerResponse, url: URL) => boolean;

/** A server on this machine that speaks the hub's protocol for one repository, with what happened to it. */
export interface HubServer {
  readonly endpoint: string;
  /** What was asked for: paths, and ranges where they were given. */
  readonly asked: string[];
  /** What the server of large files was sent as Authorization. */
  readonly tokensOfStore: (string | undefined)[];
  /** What was pushed: repositories, in the order in which they were made, and the files that commits have put into them. */
  readonly pushed: Map<string, Map<string, Buffer>>;
  /** The titles of commits. */
  readonly titles: string[];
  /** Another answer, for a test. */
  instead: Instead;
  /** The same, of the server of large files; it may break off. */
  insteadOfStore: Instead;
  close(): Promise<void>;
}

const started = (server: Server): Promise<string> =>
  new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)));

/** Sends a file, or the part of it that is asked for. */
export function send(request: IncomingMessage, response: ServerResponse, content: Buffer): void {
  const { byteLength } = content;
  const [range, first = 0, last] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '') ?? [];
  const from = Number(first);
  const to = last ? Math.min(byteLength, Number(last) + 1) : byteLength;
  if (from >= byteLength && from > 0) response.writeHead(416).end();
  else
    response
      .writeHead(range === undefined ? 200 : 206, {
        'Content-Length': to - from,
        ...(range === undefined ? {} : { 'Content-Range': `bytes ${from}-${to - 1}/${byteLength}` }),
      })
      .end(content.subarray(from, to));
}

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** A file as the hub lists it. */
const entryOf = ([path, { content, large }]: [string, ServedFile]) => ({
  type: 'file',
  path,
  size: content.byteLength,
  oid: gitSha1(content),
  ...(large ? { lfs: { oid: sha256Of(content), size: content.byteLength, pointerSize: 130 } } : {}),
});

/** Starts the server, of a repository with these files at its branch main. */
export async function hubServer(name: string, files: Readonly<Record<string, ServedFile>>): Promise<HubServer> {
  const asked: string[] = [];
  const tokensOfStore: (string | undefined)[] = [];
  const byKey = new Map(Object.values(files).map((file) => [keyOf(file), file.content]));
  const pushed = new Map<string, Map<string, Buffer>>();
  const stored = new Map<string, Buffer>();
  const titles: string[] = [];
  const never: Instead = () => false;
  const hub: { instead: Instead; insteadOfStore: Instead } = { instead: never, insteadOfStore: never };
  const store = createServer((request, response) => {
    const url = new URL(request.url ?? '', 'http://store');
    tokensOfStore.push(request.headers.authorization);
    asked.push(`store ${request.headers.range ?? ''}`.trim());
    if (hub.insteadOfStore(request, response, url)) return;
    if (request.method === 'PUT')
      void bodyOf(request).then((content) => {
        // By what it is, not by what it is called.
        stored.set(sha256Of(content), content);
        response.end();
      });
    else send(request, response, byKey.get(url.pathname.slice(1)) ?? Buffer.alloc(0));
  });
  const storeAt = await started(store);
  const refuse = (response: ServerResponse, status: number, code: string) => response.writeHead(status, { 'X-Error-Code': code }).end();
  const answer = (response: ServerResponse, body: unknown, headers: Record<string, string> = {}) =>
    response.writeHead(200, { 'Content-Type': 'application/json', ...headers }).end(JSON.stringify(body));
  /** The protocol of commits: a repository is made, files are announced, large ones go to the store, and a commit names them all. */
  async function pushes(request: IncomingMessage, response: ServerResponse, path: string): Promise<void> {
    const text = (await bodyOf(request)).toString();
    if (!request.headers.authorization?.startsWith('Bearer ')) return void refuse(response, 401, '');
    if (path === '/api/whoami-v2') return void answer(response, { type: 'user', name: 'some-one', auth: { type: 'access_token' } });
    if (path === '/api/repos/create') {
      const { organization, name: own, type } = JSON.parse(text);
      const made = `${organization}/${own}`;
      if (type !== 'model') return void response.writeHead(400).end();
      if (pushed.has(made)) return void response.writeHead(409).end();
      pushed.set(made, new Map());
      return void answer(response, { url: made, id: made });
    }
    const [, preuploaded] = /^\/api\/models\/(.+)\/preupload\/main$/.exec(path) ?? [];
    if (preuploaded !== undefined) {
      const isLarge = ({ path: file }: { path: string }) => /\.(safetensors|png)$/.test(file);
      const modes = JSON.parse(text).files.map((file: { path: string }) => ({
        path: file.path,
        uploadMode: isLarge(file) ? 'lfs' : 'regular',
        shouldIgnore: false,
      }));
      return void answer(response, { files: modes });
    }
    if (path.endsWith('.git/info/lfs/objects/batch')) {
      const objects = JSON.parse(text).objects.map(({ oid, size }: { oid: string; size: number }) => ({
        oid,
        size,
        ...(stored.has(oid) ? {} : { actions: { upload: { href: `${storeAt}/${oid}` } } }),
      }));
      return void answer(response, { transfer: 'basic', objects });
    }
    const [, committed] = /^\/api\/models\/(.+)\/commit\/main$/.exec(path) ?? [];
    const into = pushed.get(committed);
    if (!into) return void refuse(response, 404, 'RepoNotFound');
    for (const line of text.split('\n')) {
      const { key, value } = JSON.parse(line);
      if (key === 'header') titles.push(value.summary);
      if (key === 'file') into.set(value.path, Buffer.from(value.content, 'base64'));
      if (key === 'lfsFile') into.set(value.path, stored.get(value.oid) ?? Buffer.from('was not sent'));
    }
    answer(response, { commitOid: COMMIT, commitUrl: 'there', hookOutput: '' });
  }
  const front = createServer((request, response) => {
    const url = new URL(request.url ?? '', 'http://hub');
    asked.push(url.pathname);
    if (hub.instead(request, response, url)) return;
    const [, repository, about, revision] =
      /^\/api\/(?:models|datasets)\/((?:[^/]+\/)?[^/]+)\/(revision|tree)\/(.+)$/.exec(url.pathname) ?? [];
    if (repository !== undefined) {
      if (repository !== name) refuse(response, request.headers.authorization ? 404 : 401, 'RepoNotFound');
      else if (!REVISIONS.includes(revision)) refuse(response, 404, 'RevisionNotFound');
      else if (about === 'revision') answer(response, { _id: '1', id: name, sha: COMMIT, lastModified: '2026-01-01T00:00:00.000Z' });
      else {
        // A page of two entries at a time.
        const from = Number(url.searchParams.get('cursor') ?? 0);
        const entries = [{ type: 'directory', path: 'folder', size: 0, oid: COMMIT }, ...Object.entries(files).map(entryOf)];
        url.searchParams.set('cursor', String(from + 2));
        const next = `<http://${request.headers.host}${url.pathname}${url.search}>; rel="next"`;
        answer(response, entries.slice(from, from + 2), from + 2 < entries.length ? { Link: next } : {});
      }
      return;
    }
    if (request.method === 'POST' || url.pathname === '/api/whoami-v2') return void pushes(request, response, url.pathname);
    const file = files[decodeURIComponent(url.pathname.split(`/${name}/resolve/${COMMIT}/`)[1] ?? '')];
    if (!file) refuse(response, 404, 'EntryNotFound');
    else if (file.large) response.writeHead(302, { Location: `${storeAt}/${keyOf(file)}` }).end();
    else send(request, response, file.content);
  });
  return Object.assign(hub, {
    endpoint: await started(front),
    asked,
    tokensOfStore,
    pushed,
    titles,
    close: async () => {
      for (const server of [front, store]) {
        server.closeAllConnections();
        await new Promise((done) => server.close(done));
      }
    },
  });
}
