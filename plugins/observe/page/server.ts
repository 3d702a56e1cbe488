import { randomBytes, timingSafeEqual } from 'node:crypto';
import { lstat, readdir, readFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { type FinishedRecord, fail, messageOf } from '../../../core/index.js';
import type { Outcome } from '../../persist/formats/run-file.js';
import { pageHtml } from './page.js';

/** Whether a run goes on, or how it ended; one that has died was killed, and wrote no ending. */
export type RunState = 'running' | Outcome | 'died';

/** A run as the page shows it. */
export interface RunView {
  readonly name: string;
  readonly records: readonly FinishedRecord[];
  /** Grows when records that were given out before are no longer the same. */
  readonly generation?: number;
  /** Where its grid*.png are; empty for nowhere. */
  readonly folder: string;
  readonly live?: boolean;
  /** Absent where nobody knows. */
  readonly state?: RunState;
  /** What a run that failed says of it. */
  readonly error?: string;
  /** When its log was last written, in milliseconds since 1970. */
  readonly changed?: number;
  readonly steps?: number;
  readonly stepsPerEpoch?: number;
  readonly explanation?: string;
  /** What it was asked to do, by the options' names. */
  readonly options?: Readonly<Record<string, unknown>>;
  /** What its grids show, where that is not the option validationPrompt. */
  readonly prompts?: readonly string[];
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

/** Requests that may come at once, and then every second: answers take time of the run, which computes in the same thread. */
const BURST = 120;
const PER_SECOND = 10;
/** The same for whoever has no token: nobody of ours. */
const STRANGERS = 10;
/** Milliseconds until one that is refused hears of it: a loop of requests then takes as good as no time. */
const REFUSAL = 1000;

/** How many requests are answered: so many at once, and then so many a second. */
function allowance(burst: number, perSecond: number): () => boolean {
  let [credit, counted] = [burst, performance.now()];
  return () => {
    const present = performance.now();
    credit = Math.min(burst, credit + ((present - counted) / 1000) * perSecond);
    counted = present;
    if (credit < 1) return false;
    credit--;
    return true;
  };
}

const SECURITY = {
  'cache-control': 'no-store',
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'content-security-policy':
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src 'self'; connect-src 'self'; frame-ancestors 'none'",
  'x-frame-options': 'DENY',
};

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

/** A cookie's value among those that a request has. */
const cookieOf = (header: string | undefined, name: string): string | undefined =>
  header
    ?.split(';')
    .map((one) => one.trim())
    .find((one) => one.startsWith(`${name}=`))
    ?.slice(name.length + 1);

const isLocal = (host: string): boolean => host === '127.0.0.1' || host === 'localhost' || host === '::1';

/** A page that is served. */
export interface PageServer {
  /** With the token in it. */
  readonly address: string;
  /** Resolves when whoever looks has asked once more, so that it has seen how the run ended: within two seconds, at once where nobody looks. */
  seen(): Promise<void>;
  close(): Promise<void>;
}

/** Milliseconds from a question of an open page to its next, at most; a page behind others asks less often, and is not waited for. */
const NEXT_LOOK = 2000;

/** Serves the page. Resolves to its address, which has the token in it. */
export async function serveRuns({ host = '127.0.0.1', port = 0, runs, stop }: ServerOptions): Promise<PageServer> {
  let asked = Number.NEGATIVE_INFINITY;
  let heard: () => void = () => undefined;
  // On the loopback, too: every user of the machine reaches it.
  const token = randomBytes(16).toString('hex');
  let cookie = '';
  const isToken = (given: string | null | undefined): boolean => {
    const [a, b] = [Buffer.from(given ?? ''), Buffer.from(token)];
    return a.length === b.length && timingSafeEqual(a, b);
  };
  const allowed = (request: IncomingMessage, given: string | null): boolean => {
    // DNS rebinding: a page from elsewhere whose name was made to point here has that name in its requests.
    if (isLocal(host) && !isLocal((request.headers.host ?? '').replace(/:\d+$/, '').replace(/^\[|\]$/g, ''))) return false;
    return isToken(given) || isToken(cookieOf(request.headers.cookie, cookie));
  };
  const hasTime = allowance(BURST, PER_SECOND);
  const hasTimeForStrangers = allowance(STRANGERS, PER_SECOND);
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const url = new URL(request.url ?? '/', 'http://localhost');
    const send = (code: number, type: string, body: string | Uint8Array, headers: Record<string, string> = {}) => {
      response.writeHead(code, { 'content-type': type, ...SECURITY, ...headers });
      response.end(body);
    };
    const later = async (code: number, why: string): Promise<void> => {
      await setTimeout(REFUSAL, undefined, { ref: false });
      send(code, 'text/plain', why, { 'retry-after': '1' });
    };
    // Browsers ask for it by themselves, without the token.
    const isIcon = url.pathname === '/favicon.ico';
    const given = url.searchParams.get('token');
    if (isIcon || !allowed(request, given)) {
      if (!hasTimeForStrangers()) return later(429, 'too many requests');
      return isIcon ? send(404, 'text/plain', 'there is none') : send(403, 'text/plain', 'the token is missing or wrong');
    }
    if (!hasTime()) return later(429, 'too many requests');
    if (request.method === 'POST' && url.pathname === '/stop') {
      // A form of another page cannot set a header.
      if (!stop || request.headers['x-steploom'] === undefined) return send(403, 'text/plain', 'not allowed');
      stop();
      return send(200, 'text/plain', 'stopping');
    }
    if (request.method !== 'GET') return send(405, 'text/plain', 'GET only');
    // The address that was printed: from here on the browser keeps the token, where no script, history or other page sees it.
    if (url.pathname === '/' && given !== null) {
      const headers = { 'set-cookie': `${cookie}=${token}; HttpOnly; SameSite=Strict; Path=/`, location: './' };
      // A browser that follows a link of another site would not send the cookie along a redirect.
      const isForeign = /^(?:cross|same)-site$/.test(String(request.headers['sec-fetch-site'] ?? ''));
      if (!isForeign) return send(303, 'text/plain', '', headers);
      return send(200, 'text/html; charset=utf-8', '<!doctype html><meta http-equiv="refresh" content="0;url=./">', {
        'set-cookie': headers['set-cookie'],
      });
    }
    if (url.pathname === '/') return send(200, 'text/html; charset=utf-8', await pageHtml());
    if (url.pathname === '/data') {
      const since = parsed(url.searchParams.get('since'));
      const views = await Promise.all(
        (await runs()).map(async ({ folder, records, ...view }) => {
          const [generation, known] = Array.isArray(since[view.name]) ? (since[view.name] as unknown[]).map(Number) : [0, 0];
          const from = generation === (view.generation ?? 0) && known >= 0 && known <= records.length ? known : 0;
          return { ...view, from, records: records.slice(from), pictures: await picturesOf(folder) };
        }),
      );
      asked = performance.now();
      response.once('finish', () => heard());
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
  const server: Server = createServer(
    { headersTimeout: 5000, requestTimeout: 10_000, keepAliveTimeout: 5000, connectionsCheckingInterval: 1000 },
    (request, response) => {
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
  // Ports of a machine share their cookies.
  cookie = `steploom-${listening}`;
  return {
    address: `http://${host.includes(':') ? `[${host}]` : host}:${listening}/?token=${token}`,
    seen: () =>
      performance.now() - asked > NEXT_LOOK
        ? Promise.resolve()
        : Promise.race([
            new Promise<void>((resolve) => {
              heard = resolve;
            }),
            setTimeout(NEXT_LOOK, undefined, { ref: false }),
          ]),
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
