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
  const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
  if (from >= content.byteLength && from > 0) response.writeHead(416).end();
  else
    response
      .writeHead(from > 0 ? 206 : 200, {
        'Content-Length': content.byteLength - from,
        ...(from > 0 ? { 'Content-Range': `bytes ${from}-${content.byteLength - 1}/${content.byteLength}` } : {}),
      })
      .end(content.subarray(from));
}

/** Starts the server, of a repository with these files at its branch main. */
export async function hubServer(name: string, files: Readonly<Record<string, ServedFile>>): Promise<HubServer> {
  const asked: string[] = [];
  const tokensOfStore: (string | undefined)[] = [];
  const byKey = new Map(Object.values(files).map((file) => [keyOf(file), file.content]));
  const never: Instead = () => false;
  const hub: { instead: Instead; insteadOfStore: Instead } = { instead: never, insteadOfStore: never };
  const store = createServer((request, response) => {
    const url = new URL(request.url ?? '', 'http://store');
    tokensOfStore.push(request.headers.authorization);
    asked.push(`store ${request.headers.range ?? ''}`.trim());
    if (!hub.insteadOfStore(request, response, url)) send(request, response, byKey.get(url.pathname.slice(1)) ?? Buffer.alloc(0));
  });
  const storeAt = await started(store);
  const refuse = (response: ServerResponse, status: number, code: string) => response.writeHead(status, { 'X-Error-Code': code }).end();
  const front = createServer((request, response) => {
    const url = new URL(request.url ?? '', 'http://hub');
    asked.push(url.pathname);
    if (hub.instead(request, response, url)) return;
    const [, repository, revision] = /^\/api\/(?:models|datasets)\/([^/]+\/[^/]+)\/revision\/(.+)$/.exec(url.pathname) ?? [];
    if (repository !== undefined) {
      if (repository !== name) refuse(response, request.headers.authorization ? 404 : 401, 'RepoNotFound');
      else if (!REVISIONS.includes(revision)) refuse(response, 404, 'RevisionNotFound');
      else {
        const siblings = Object.entries(files).map(([rfilename, file]) => ({
          rfilename,
          size: file.content.byteLength,
          blobId: gitSha1(file.content),
          ...(file.large ? { lfs: { sha256: sha256Of(file.content), size: file.content.byteLength, pointerSize: 130 } } : {}),
        }));
        response.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify({ sha: COMMIT, siblings }));
      }
      return;
    }
    const file = files[decodeURIComponent(url.pathname.split(`/${name}/resolve/${COMMIT}/`)[1] ?? '')];
    if (!file) refuse(response, 404, 'EntryNotFound');
    else if (file.large) response.writeHead(302, { Location: `${storeAt}/${keyOf(file)}` }).end();
    else send(request, response, file.content);
  });
  return Object.assign(hub, {
    endpoint: await started(front),
    asked,
    tokensOfStore,
    close: async () => {
      for (const server of [front, store]) {
        server.closeAllConnections();
        await new Promise((done) => server.close(done));
      }
    },
  });
}
