import { randomUUID } from 'node:crypto';
import { copyFile, mkdir, readdir, readFile, rename, stat, symlink, writeFile } from 'node:fs/promises';
import { basename, dirname, join, relative } from 'node:path';
import { fail, SteploomError } from '../../../core/index.js';
import { guarded } from './atomic-file.js';
import { type Files, missing } from './files.js';
import { folder } from './folder.js';
import { type Asking, movedTo, type Repository, Unreachable } from './hub/ask.js';
import { download } from './hub/download.js';
import { type HubFile, type Listing, listing } from './hub/listing.js';
import { fetchRange } from './hub/range.js';
import { type HubSettings, hubSettings } from './hub/settings.js';

export interface HubOptions {
  /** A model by default. */
  readonly kind?: Repository['kind'];
  /** A branch, a tag or a commit; main by default. */
  readonly revision?: string | undefined;
  /** Where the hub is, and the cache; what the environment says by default. */
  readonly settings?: HubSettings;
  /** Read parts of files from the hub, and keep nothing of them; what is in the cache already is used. */
  readonly streamed?: boolean;
  /** Told what is fetched, and where the cache alone is used since the hub does not give what is asked for. */
  readonly note?: (what: string) => void;
  /** Waits so many seconds, between attempts. */
  readonly pause?: (seconds: number) => Promise<void>;
}

/** Files of the hub, which can be listed. */
export interface HubFiles extends Files {
  /** All files, or those that are kept where the hub is not there. */
  paths(): Promise<string[]>;
  /** Fetches files, and returns the folder in which they are. */
  whole(paths: readonly string[]): Promise<string>;
  /** The commit that the revision stands for. */
  commit(): Promise<string>;
}

/** Whether a name may be one of the hub's, of the kind owner/name. */
export const isHubName = (name: string): boolean => /^[A-Za-z0-9][\w.-]*\/[A-Za-z0-9][\w.-]*$/.test(name);

const isThere = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );

/** Files below a folder, by their paths from it. */
const below = async (place: string): Promise<string[]> =>
  (await readdir(place, { recursive: true, withFileTypes: true }))
    .filter((entry) => !entry.isDirectory())
    .map((entry) => relative(place, join(entry.parentPath, entry.name)).replaceAll('\\', '/'));

/** What to do where something is not kept. */
const fetching = (name: string): string => ['Fetch it once with a network, or correct the path.', movedTo(name)].filter(Boolean).join(' ');

/** A revision of a repository, and the folder in which its files are. */
interface Revision {
  readonly place: string;
  /** What the hub says; null where only the cache is used. */
  readonly said: Listing | null;
}

/**
 * Files of a repository of the Hugging Face hub (`owner/name`), each fetched when it is first read, into the cache that Python's huggingface_hub
 * uses (blobs, snapshots and refs), so that what either has fetched is there for both. Size and hash are checked, a download that was cut goes on, and
 * processes do not disturb each other. Without the hub (HF_HUB_OFFLINE, no network, or one that refuses or no longer has it) what is in the cache is used,
 * and of a commit it is not even asked for what is there. HUB_MISSING, HUB_REFUSED and HUB_FAILED say what the hub has against what is not kept. Needs Node.
 */
export function hub(name: string, options: HubOptions = {}): HubFiles {
  const { kind = 'model', revision = 'main', streamed = false, note } = options;
  const pause = options.pause ?? ((seconds) => new Promise((goOn) => setTimeout(goOn, seconds * 1000)));
  const cacheFolder = `${kind}s--${name.replaceAll('/', '--')}`;
  let asking: Promise<Asking> | null = null;
  let opened: Promise<Revision> | null = null;
  /** Why the cache alone is used, where it is. */
  let alone: string | null = null;
  const settled = () => {
    asking ??= (async () => ({ kind, name, revision, pause, note, settings: options.settings ?? (await hubSettings()) }))();
    return asking;
  };
  const open = () => {
    opened ??= openRevision();
    return opened;
  };

  const snapshot = (cache: string, commit: string) => join(cache, cacheFolder, 'snapshots', commit);

  /** The folder of a commit, where it has this file: what belongs to a commit never changes. */
  async function ofCommit(path: string): Promise<Files | null> {
    if (!/^[0-9a-f]{40}$/.test(revision)) return null;
    const there = folder(snapshot((await settled()).settings.cache, revision));
    return (await there.size(path)) === null ? null : there;
  }

  async function openRevision(): Promise<Revision> {
    const of = await settled();
    const { cache, offline, endpoint } = of.settings;
    const ref = join(cache, cacheFolder, 'refs', revision);
    const kept = async (why: string): Promise<Revision | null> => {
      alone = why;
      const commit = await readFile(ref, 'utf8').then(
        (text) => text.trim(),
        () => revision,
      );
      const place = snapshot(cache, commit);
      return (await isThere(place)) ? { place, said: null } : null;
    };
    const absent = (why: string): never => fail('HUB_MISSING', 'hub', `${name} is not in ${cache}, and ${why}`, fetching(name));
    const unset = 'HF_HUB_OFFLINE is set';
    if (offline) return (await kept(unset)) ?? absent(unset);
    let said: Listing;
    try {
      said = await listing(of);
    } catch (error) {
      const isAway = error instanceof Unreachable;
      if (!isAway && !(error instanceof SteploomError)) throw error;
      const why = isAway ? `${endpoint} cannot be reached (${error.message})` : error.problems[0].what;
      const found = await kept(why);
      if (!found) {
        if (isAway) absent(why);
        throw error;
      }
      note?.([`${why}: what is kept of ${name} is used`, movedTo(name)].filter(Boolean).join('. '));
      return found;
    }
    if (said.commit !== revision) await put(ref, (path) => writeFile(path, said.commit));
    return { place: snapshot(cache, said.commit), said };
  }

  const addressOf = (endpoint: string, commit: string, path: string) =>
    `${endpoint}/${kind === 'dataset' ? 'datasets/' : ''}${name}/resolve/${commit}/${path.split('/').map(encodeURIComponent).join('/')}`;

  /** Part of a file that is not here; null where it is, or is nowhere. */
  async function part(path: string, from: number, to: number): Promise<Uint8Array | null> {
    if (await ofCommit(path)) return null;
    const { place, said } = await open();
    const file = said?.files.get(path);
    if (!said || !file || (await folder(place).size(path)) === file.size) return null;
    const of = await settled();
    return fetchRange(of, addressOf(of.settings.endpoint, said.commit, path), from, to);
  }

  /** The folder that holds a file, once it is there; null where there is none. */
  async function have(path: string): Promise<Files | null> {
    const kept = await ofCommit(path);
    if (kept) return kept;
    const { place, said } = await open();
    const there = folder(place);
    const has = await there.size(path);
    if (!said) return has === null ? null : there;
    const file = said.files.get(path);
    if (!file) return null;
    if (has !== file.size) await bring(path, file, place, said.commit);
    return there;
  }

  async function bring(path: string, file: HubFile, place: string, commit: string): Promise<void> {
    const of = await settled();
    const { endpoint, cache } = of.settings;
    const blob = join(cache, cacheFolder, 'blobs', file.key);
    const lock = join(cache, '.locks', cacheFolder, `${file.key}.steploom.lock`);
    const url = addressOf(endpoint, commit, path);
    if (!(await isThere(blob))) note?.(`fetching ${name}/${path} (${Math.ceil(file.size / 2 ** 20)} MiB)`);
    await download(of, url, blob, lock, file);
    const target = join(place, path);
    // A copy, where the file system has no links.
    await put(target, (beside) => symlink(relative(dirname(target), blob), beside).catch(() => copyFile(blob, beside)));
  }

  return {
    where: name,
    get ifMissing() {
      return alone === null ? undefined : `Only what is kept of it is used, since ${alone}. ${fetching(name)}`;
    },
    read: async (path) => (await have(path))?.read(path) ?? null,
    async size(path) {
      const kept = await ofCommit(path);
      if (kept) return kept.size(path);
      const { place, said } = await open();
      return said ? (said.files.get(path)?.size ?? null) : folder(place).size(path);
    },
    async range(path, from, to) {
      const streaming = streamed ? await part(path, from, to) : null;
      return streaming ?? ((await have(path)) ?? missing(this, path)).range(path, from, to);
    },
    async paths() {
      const { place, said } = await open();
      return said ? [...said.files.keys()] : (await below(place)).sort();
    },
    async whole(paths) {
      for (const path of paths) await have(path);
      return (await open()).place;
    },
    commit: async () => basename((await open()).place),
    write: async (path) => fail('FILE_UNWRITABLE', 'hub', `${name}/${path} is on the hub`, 'Give a folder.'),
  };
}

/** Puts a file into its place, made beside it under a name of its own: another process may put the same there. */
const put = (path: string, make: (path: string) => Promise<void>): Promise<void> =>
  guarded(path, async () => {
    const beside = `${path}.${randomUUID()}`;
    await mkdir(dirname(path), { recursive: true });
    await make(beside);
    await rename(beside, path);
  });
