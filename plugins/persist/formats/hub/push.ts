import { pathToFileURL } from 'node:url';
import { fail, messageOf, SteploomError } from '../../../../core/index.js';
import { type Asking, fetchFor, Unreachable } from './ask.js';
import type { HubSettings } from './settings.js';

export interface PushOptions {
  readonly settings: HubSettings;
  /** Waits so many seconds, between attempts. */
  readonly pause?: (seconds: number) => Promise<void>;
}

/** A model's repository on the hub, to put files into. */
export interface PushTarget {
  /** Its name, with its owner. */
  readonly name: string;
  /** Where people find it. */
  readonly page: string;
  /** Puts files there in one commit: text, or paths of files here, by their paths there. */
  put(files: ReadonlyMap<string, { readonly text: string } | { readonly file: string }>, title: string): Promise<void>;
}

/** What is thrown where nothing can be reached, and by the library, in our words. */
async function inWords<T>({ name, settings }: Asking, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof SteploomError) throw error;
    const what =
      error instanceof Unreachable
        ? `${settings.endpoint} cannot be reached: ${error.message}`
        : `${settings.endpoint} does not take ${name}: ${messageOf(error)}`;
    return fail('HUB_FAILED', 'hub', what, 'Try again later: what is to be sent stays where it is.', error);
  }
}

/**
 * A model's repository on the hub, made where there is none: `owner/name`, or the name of one of the account that the token is of. Throws HUB_REFUSED,
 * HUB_MISSING and HUB_FAILED.
 */
export async function pushTarget(wanted: string, { settings, pause }: PushOptions): Promise<PushTarget> {
  const { commit, createRepo, HubApiError, whoAmI } = await import('@huggingface/hub');
  const asking = (name: string): Asking => ({
    kind: 'model',
    name,
    revision: 'main',
    writes: true,
    settings,
    pause: pause ?? ((seconds) => new Promise((goOn) => setTimeout(goOn, seconds * 1000))),
  });
  // The library refuses tokens of other servers: fetchFor() sends ours.
  const there = (of: Asking) => ({ hubUrl: settings.endpoint, fetch: fetchFor(of), accessToken: '' });
  const account = () => inWords(asking(wanted), async () => (await whoAmI(there(asking(wanted)))).name);
  const name = wanted.includes('/') ? wanted : `${await account()}/${wanted}`;
  const of = asking(name);
  const repo = { type: of.kind, name } as const;
  await inWords(of, () =>
    createRepo({ ...there(of), repo }).catch((error: unknown) => {
      // It is there already.
      if (!(error instanceof HubApiError && error.statusCode === 409)) throw error;
    }),
  );
  return {
    name,
    page: `${settings.endpoint}/${name}`,
    async put(files, title) {
      const operations = [...files].map(([path, given]) => ({
        operation: 'addOrUpdate' as const,
        path,
        content: 'text' in given ? new Blob([given.text]) : pathToFileURL(given.file),
      }));
      await inWords(of, () => commit({ ...there(of), repo, title, operations, useXet: false }));
    },
  };
}
