import { messageOf } from '../../../core/index.js';
import type { MlflowSettings } from './settings.js';

/** The longest that an answer is waited for, in seconds; and bytes a second that a file is at least sent with. */
const CALL = 30;
const SLOWEST = 100_000;

/** The server cannot be reached, or is busy: trying again may help. */
export class Away extends Error {
  constructor(
    message: string,
    /** Whether there was an answer. */
    readonly isAnswer: boolean,
    cause?: unknown,
  ) {
    super(message, { cause });
  }
}

/** The server will not have what it was sent. */
export class Refused extends Error {
  constructor(
    message: string,
    /** MLflow's own name of it, as RESOURCE_DOES_NOT_EXIST; none where another program answers. */
    readonly code?: string,
    /** Whether nothing else will be taken either. */
    readonly isForAll = false,
  ) {
    super(message);
  }
}

const isPassing = (status: number): boolean => status === 408 || status === 429 || status >= 500;

/** MLflow's REST API, version 2.0, of one server. Calls throw Away and Refused. */
export class MlflowClient {
  private readonly headers: Readonly<Record<string, string>>;
  /** The address without what must not be told, and without the slash at its end. */
  readonly address: string;

  constructor({ trackingUri = '', token, username, password }: MlflowSettings) {
    const url = new URL(trackingUri);
    const [name, secret] = [username ?? decodeURIComponent(url.username), password ?? decodeURIComponent(url.password)];
    url.username = '';
    url.password = '';
    this.address = url.href.replace(/\/+$/, '');
    const authorization = token
      ? `Bearer ${token}`
      : name && secret
        ? `Basic ${Buffer.from(`${name}:${secret}`).toString('base64')}`
        : undefined;
    this.headers = authorization === undefined ? {} : { Authorization: authorization };
  }

  /** Calls `mlflow/<path>`: with a body what changes something, without one what only asks. */
  async call(path: string, body?: object): Promise<unknown> {
    const response = await this.send(`mlflow/${path}`, CALL, {
      ...(body ? { method: 'POST', body: JSON.stringify(body) } : {}),
      headers: { ...this.headers, 'Content-Type': 'application/json' },
    });
    return response.json().catch((error) => {
      throw new Refused(`${this.address} does not answer as an MLflow server: ${messageOf(error)}`);
    });
  }

  /** Puts a file at a path of the server's store of artifacts. */
  async upload(path: string, content: Uint8Array<ArrayBuffer>): Promise<void> {
    const place = path.split('/').map(encodeURIComponent).join('/');
    const response = await this.send(`mlflow-artifacts/artifacts/${place}`, CALL + content.length / SLOWEST, {
      method: 'PUT',
      body: content,
      headers: { ...this.headers, 'Content-Type': 'application/octet-stream' },
    });
    await response.body?.cancel();
  }

  private async send(path: string, seconds: number, request: RequestInit): Promise<Response> {
    let response: Response;
    let text = '';
    try {
      response = await fetch(`${this.address}/api/2.0/${path}`, { ...request, signal: AbortSignal.timeout(Math.ceil(seconds * 1000)) });
      if (!response.ok) text = await response.text();
    } catch (error) {
      throw new Away(`${this.address} cannot be reached (${messageOf((error as Error).cause ?? error)})`, false, error);
    }
    if (response.ok) return response;
    if (isPassing(response.status)) throw new Away(`${this.address} answers ${response.status}`, true);
    let said: { error_code?: unknown; message?: unknown } = {};
    try {
      said = JSON.parse(text);
    } catch {
      // Another program, or one in between.
    }
    const code = typeof said?.error_code === 'string' ? said.error_code : undefined;
    const why = code === undefined ? '' : `: ${code}, ${String(said.message).slice(0, 300)}`;
    throw new Refused(
      `${this.address} answers ${response.status} to ${path}${why}`,
      code,
      response.status === 401 || response.status === 403,
    );
  }
}
