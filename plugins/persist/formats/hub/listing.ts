import { z } from 'zod';
import { fail, SteploomError } from '../../../../core/index.js';
import { type Asking, fetchFor, Unreachable } from './ask.js';

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

/** What is taken from the library's answers, which are the hub's. */
const answer = z.object({
  commit: z.string().regex(/^[0-9a-f]{40}$/),
  entries: z.array(
    z.object({
      type: z.string(),
      path: z.string(),
      size: z.number().int().min(0),
      oid: z.string().regex(/^[0-9a-f]{40}$/),
      lfs: z.object({ oid: z.string().regex(/^[0-9a-f]{64}$/) }).optional(),
    }),
  ),
});

async function asked(of: Asking): Promise<z.input<typeof answer>> {
  const { datasetInfo, listFiles, modelInfo } = await import('@huggingface/hub');
  const { kind, name, revision, settings } = of;
  const there = { hubUrl: settings.endpoint, fetch: fetchFor(of) };
  const about = { ...there, name, revision };
  const { sha: commit } =
    kind === 'dataset'
      ? await datasetInfo({ ...about, additionalFields: ['sha'] })
      : await modelInfo({ ...about, additionalFields: ['sha'] });
  const entries = [];
  for await (const entry of listFiles({ ...there, repo: { type: kind, name }, revision: commit, recursive: true }))
    if (entry.type === 'file') entries.push(entry as z.input<typeof answer>['entries'][number]);
  return { commit, entries };
}

/** Asks the hub for a revision's files. */
export async function listing(of: Asking): Promise<Listing> {
  const unlisted = (cause: unknown): never =>
    fail('HUB_FAILED', 'hub', `${of.settings.endpoint} does not list the files of ${of.name}`, 'Check HF_ENDPOINT.', cause);
  const found = await asked(of).catch((error: unknown) => {
    if (error instanceof SteploomError || error instanceof Unreachable) throw error;
    return unlisted(error);
  });
  const parsed = answer.safeParse(found);
  if (!parsed.success) return unlisted(parsed.error);
  const { commit, entries } = parsed.data;
  return { commit, files: new Map(entries.map(({ path, size, oid, lfs }) => [path, { size, key: lfs?.oid ?? oid }])) };
}
