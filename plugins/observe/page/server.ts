import { randomBytes, timingSafeEqual } from 'node:crypto';
import { createReadStream } from 'node:fs';
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
  /** The interface to listen on; this machine alone by default. Whoever asks needs the token that the address carries. */
  readonly host?: string;
  /** Any free one by default. */
  readonly port?: number;
  runs(): Promise<readonly RunView[]>;
  stop?(): void;
}

/** Requests that may come at once, and then every second. */
const BURST = 120;
const PER_SECOND = 20;

/** Records of a run that a page is given. */
const MOST = 4000;

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

/** Serves the page. Resolves to its address, which has the token in it. */
export async function serveRuns({
  host = '127.0.0.1',
  port = 0,
  runs,
  stop,
}: ServerOptions): Promise<{ address: string; close(): Promise<void> }> {
  // On the loopback, too: every user of the machine reaches it.
  const token = randomBytes(16).toString('hex');
  const allowed = (request: IncomingMessage, given: string | null): boolean => {
    // DNS rebinding: a page from elsewhere whose name was made to point here has that name in its requests.
    if (isLocal(host) && !isLocal((request.headers.host ?? '').replace(/:\d+$/, '').replace(/^\[|\]$/g, ''))) return false;
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
          "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src 'self'; connect-src 'self'; frame-ancestors 'none'",
        'x-frame-options': 'DENY',
      });
      response.end(body);
    };
    // Browsers ask for it by themselves, without the token.
    if (url.pathname === '/favicon.ico') return send(404, 'text/plain', 'there is none');
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
  let credit = BURST;
  let counted = performance.now();
  /** Whether there is time for one more request: answers take that of the run, which computes in the same thread. */
  const hasTime = (): boolean => {
    const present = performance.now();
    credit = Math.min(BURST, credit + ((present - counted) / 1000) * PER_SECOND);
    counted = present;
    if (credit < 1) return false;
    credit--;
    return true;
  };
  const server: Server = createServer(
    { headersTimeout: 5000, requestTimeout: 10_000, keepAliveTimeout: 5000, connectionsCheckingInterval: 1000 },
    (request, response) => {
      if (!hasTime()) {
        response.writeHead(429, { 'content-type': 'text/plain', 'retry-after': '1' });
        response.end('too many requests');
        return;
      }
      answer(request, response).catch((error) => {
        if (!response.headersSent) response.writeHead(500, { 'content-type': 'text/plain' });
        response.end(messageOf(error));
      });
    },
  );
  // A run needs its descriptors for itself.
  server.maxConnections = 64;
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, resolve);
  }).catch((error) =>
    fail('PORT_UNAVAILABLE', 'ui', `cannot listen on ${host}:${port}: ${messageOf(error)}`, 'Give another port or host.', error),
  );
  const { port: listening } = server.address() as { port: number };
  return {
    address: `http://${host.includes(':') ? `[${host}]` : host}:${listening}/?token=${token}`,
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

/** What was read of a run's log so far: records, thinned out as they become many. */
class LogView {
  records: FinishedRecord[] = [];
  generation = 0;
  private read = 0;
  private every = 1;
  private lines = 0;

  /** Reads what came since; a log that is shorter than before is another's. */
  async update(path: string, size: number): Promise<void> {
    if (size < this.read) {
      this.records = [];
      this.read = 0;
      this.every = 1;
      this.lines = 0;
      this.generation++;
    }
    if (size === this.read) return;
    let rest = Buffer.alloc(0);
    for await (const chunk of createReadStream(path, { start: this.read, end: size - 1 })) {
      const bytes = Buffer.concat([rest, chunk as Buffer]);
      const end = bytes.lastIndexOf(10) + 1;
      for (const line of bytes.toString('utf8', 0, end).split('\n')) this.take(line);
      this.read += end;
      rest = bytes.subarray(end);
      // No line of a log is as long: whatever it is, it is passed over.
      if (rest.length > LONGEST_LINE) {
        this.read += rest.length;
        rest = Buffer.alloc(0);
      }
    }
  }

  private take(line: string): void {
    if (line === '' || this.lines++ % this.every !== 0) return;
    try {
      const record: unknown = JSON.parse(line);
      if (typeof record !== 'object' || record === null || Array.isArray(record)) return;
      this.records.push(record as FinishedRecord);
    } catch {
      return; // It is just being written, or is nothing of ours.
    }
    if (this.records.length <= MOST) return;
    this.records = this.records.filter((_, i) => i % 2 === 0);
    this.every *= 2;
    this.generation++;
  }
}

const LONGEST_LINE = 1 << 20;

/**
 * Reads the runs below a folder, each a folder with a log.jsonl: only what came since the last time, by pieces, and of a long one every so-manyth
 * record. A log that cannot be read shows its run without records.
 */
export function runsBelow(folder: string): () => Promise<RunView[]> {
  const known = new Map<string, LogView>();
  const look = async (name: string): Promise<RunView | null> => {
    const path = join(folder, name);
    const facts = await lstat(join(path, 'log.jsonl')).catch(() => null);
    if (!facts?.isFile()) return null;
    const view = known.get(name) ?? new LogView();
    known.set(name, view);
    await view.update(join(path, 'log.jsonl'), facts.size).catch(() => undefined);
    return { name, records: view.records, generation: view.generation, folder: path };
  };
  const lookAll = async (): Promise<RunView[]> => {
    const names = (await readdir(folder, { withFileTypes: true })).filter((entry) => entry.isDirectory()).map(({ name }) => name);
    const found: (RunView | null)[] = [];
    // One after the other: each may be large.
    for (const name of [...names.sort(), '.']) found.push(await look(name));
    return found.filter((view) => view !== null);
  };
  // Whoever asks meanwhile waits for the same look: two at once would take each new record twice.
  let looking: Promise<RunView[]> | null = null;
  return () => {
    looking ??= lookAll().finally(() => {
      looking = null;
    });
    return looking;
  };
}
