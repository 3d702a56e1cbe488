import { randomBytes, timingSafeEqual } from 'node:crypto';
import { lstat, readdir, readFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { join } from 'node:path';
import { type FinishedRecord, fail, messageOf } from '../../../core/index.js';
import { PAGE_HTML } from './page.js';

/** A run as the page shows it. */
export interface RunView {
  readonly name: string;
  readonly records: readonly FinishedRecord[];
  /** Grows when records that were given out before are no longer the same. */
  readonly generation?: number;
  /** Where its grid*.png are; empty for nowhere. */
  readonly folder: string;
  readonly live?: boolean;
  readonly ended?: boolean;
  readonly steps?: number;
  readonly explanation?: string;
  readonly memory?: { readonly resident: number; readonly tensors: number };
}

export interface ServerOptions {
  /** The interface to listen on; this machine alone by default. Any other needs the token that the address carries. */
  readonly host?: string;
  /** Any free one by default. */
  readonly port?: number;
  runs(): Promise<readonly RunView[]>;
  stop?(): void;
}

const PICTURE = /^grid[\w-]*\.png$/;

const picturesOf = async (folder: string) => {
  if (folder === '') return [];
  const names = (await readdir(folder).catch(() => [])).filter((name) => PICTURE.test(name));
  const found: { name: string; time: number }[] = [];
  for (const name of names) {
    // A link could lead anywhere.
    const facts = await lstat(join(folder, name));
    if (facts.isFile()) found.push({ name, time: Math.round(facts.mtimeMs) });
  }
  return found.sort((a, b) => a.time - b.time);
};

const isLocal = (host: string): boolean => host === '127.0.0.1' || host === 'localhost' || host === '::1';

/** Serves the page. Resolves to its address, which has the token in it where one is needed. */
export async function serveRuns({
  host = '127.0.0.1',
  port = 0,
  runs,
  stop,
}: ServerOptions): Promise<{ address: string; close(): Promise<void> }> {
  const token = isLocal(host) ? null : randomBytes(16).toString('hex');
  const allowed = (request: IncomingMessage, given: string | null): boolean => {
    // DNS rebinding: a page from elsewhere whose name was made to point here has that name in its requests.
    if (token === null) return isLocal((request.headers.host ?? '').replace(/:\d+$/, '').replace(/^\[|\]$/g, ''));
    const [a, b] = [Buffer.from(given ?? ''), Buffer.from(token)];
    return a.length === b.length && timingSafeEqual(a, b);
  };
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const url = new URL(request.url ?? '/', 'http://localhost');
    const send = (code: number, type: string, body: string | Uint8Array) => {
      response.writeHead(code, {
        'content-type': type,
        'cache-control': 'no-store',
        'x-content-type-options': 'nosniff',
        'content-security-policy':
          "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src 'self'; connect-src 'self'",
      });
      response.end(body);
    };
    if (!allowed(request, url.searchParams.get('token'))) return send(403, 'text/plain', 'the token is missing or wrong');
    if (request.method === 'POST' && url.pathname === '/stop') {
      // A form of another page cannot set a header.
      if (!stop || request.headers['x-steploom'] === undefined) return send(403, 'text/plain', 'not allowed');
      stop();
      return send(200, 'text/plain', 'stopping');
    }
    if (request.method !== 'GET') return send(405, 'text/plain', 'GET only');
    if (url.pathname === '/') return send(200, 'text/html; charset=utf-8', PAGE_HTML);
    if (url.pathname === '/data') {
      const since = parsed(url.searchParams.get('since'));
      const views = await Promise.all(
        (await runs()).map(async ({ folder, records, ...view }) => {
          const [generation, known] = Array.isArray(since[view.name]) ? (since[view.name] as unknown[]).map(Number) : [0, 0];
          const from = generation === (view.generation ?? 0) && known >= 0 && known <= records.length ? known : 0;
          return { ...view, from, records: records.slice(from), pictures: await picturesOf(folder) };
        }),
      );
      return send(200, 'application/json', JSON.stringify(views));
    }
    if (url.pathname === '/picture') {
      const run = (await runs()).find(({ name }) => name === url.searchParams.get('run'));
      const name = url.searchParams.get('name') ?? '';
      // Names are looked up among what is there: no path of the asker's is ever opened.
      const found = run && (await picturesOf(run.folder)).find((picture) => picture.name === name);
      if (run && found) return send(200, 'image/png', await readFile(join(run.folder, found.name)));
    }
    send(404, 'text/plain', 'there is no such thing');
  };
  const server: Server = createServer((request, response) => {
    answer(request, response).catch((error) => {
      if (!response.headersSent) response.writeHead(500, { 'content-type': 'text/plain' });
      response.end(messageOf(error));
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, resolve);
  }).catch((error) =>
    fail('PORT_UNAVAILABLE', 'ui', `cannot listen on ${host}:${port}: ${messageOf(error)}`, 'Give another port or host.', error),
  );
  const { port: listening } = server.address() as { port: number };
  return {
    address: `http://${host.includes(':') ? `[${host}]` : host}:${listening}/${token ? `?token=${token}` : ''}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function parsed(text: string | null): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text ?? '{}');
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

/** Reads the runs below a folder, each a folder with a log.jsonl; what was read is kept and only new lines are looked at. */
export function runsBelow(folder: string): () => Promise<RunView[]> {
  const known = new Map<string, { size: number; time: number; records: FinishedRecord[] }>();
  const look = async (name: string): Promise<RunView | null> => {
    const path = join(folder, name);
    const facts = await lstat(join(path, 'log.jsonl')).catch(() => null);
    if (!facts?.isFile()) return null;
    let entry = known.get(name);
    if (entry?.size !== facts.size || entry.time !== facts.mtimeMs) {
      const lines = (await readFile(join(path, 'log.jsonl'), 'utf8')).split('\n');
      const records = lines.flatMap((line) => {
        try {
          return line ? [JSON.parse(line) as FinishedRecord] : [];
        } catch {
          return []; // It is just being written.
        }
      });
      entry = { size: facts.size, time: facts.mtimeMs, records };
      known.set(name, entry);
    }
    return { name, records: entry.records, folder: path };
  };
  return async () => {
    const names = (await readdir(folder, { withFileTypes: true })).filter((entry) => entry.isDirectory()).map(({ name }) => name);
    const found = await Promise.all([...names.sort(), '.'].map(look));
    return found.filter((view) => view !== null);
  };
}
