import { z } from 'zod';
import { fail } from '../../../../core/index.js';
import { type Asking, ask } from './ask.js';

/** What the hub says of a file. */
export interface HubFile {
  readonly size: number;
  /** Names its content: the SHA-256 of large files, the SHA-1 of git's object of small ones. */
  readonly key: string;
}

/** A revision of a repository: its commit, and its files by their paths. */
export interface Listing {
  readonly commit: string;
  readonly files: ReadonlyMap<string, HubFile>;
}

const answer = z.object({
  sha: z.string().regex(/^[0-9a-f]{40}$/),
  siblings: z.array(
    z.object({
      rfilename: z.string(),
      size: z.number().int().min(0),
      blobId: z.string().regex(/^[0-9a-f]{40}$/),
      lfs: z.object({ sha256: z.string().regex(/^[0-9a-f]{64}$/) }).nullish(),
    }),
  ),
});

/** Asks the hub for a revision's files. */
export async function listing(of: Asking): Promise<Listing> {
  const { kind, name, revision, settings } = of;
  const url = `${settings.endpoint}/api/${kind}s/${name}/revision/${encodeURIComponent(revision)}?blobs=true`;
  const parsed = answer.safeParse(await (await ask(of, url)).json().catch(() => null));
  if (!parsed.success)
    return fail('HUB_FAILED', 'hub', `${settings.endpoint} does not list the files of ${name}`, 'Check HF_ENDPOINT.', parsed.error);
  const { sha, siblings } = parsed.data;
  return {
    commit: sha,
    files: new Map(siblings.map(({ rfilename, size, blobId, lfs }) => [rfilename, { size, key: lfs?.sha256 ?? blobId }])),
  };
}
