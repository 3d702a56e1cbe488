import { statSync } from 'node:fs';
import { join, posix } from 'node:path';
import { fail, hashOfText, SteploomError } from '../../core/index.js';
import { isImage, TEXTS } from '../../plugins/data/image-folder/kinds.js';
import { METADATA } from '../../plugins/data/image-folder/metadata.js';
import type { PictureTables } from '../../plugins/data/image-folder/table.js';
import { unpack } from '../../plugins/data/image-folder/unpack.js';
import { walk } from '../../plugins/data/image-folder/walk.js';
import { folder } from '../../plugins/persist/formats/folder.js';
import { hubSettings } from '../../plugins/persist/formats/hub/settings.js';
import { type HubFiles, hub, isHubName } from '../../plugins/persist/formats/hub.js';
import { sayOnce } from './model-source.js';
import type { imageOptions, OptionValues } from './options.js';

type DataOptions = Pick<
  OptionValues<typeof imageOptions>,
  'trainDataDir' | 'datasetName' | 'datasetConfigName' | 'imageColumn' | 'captionColumn' | 'cacheDir'
>;

/** The branch where the hub keeps tables of every data set that it could read. */
const CONVERTED = 'refs/convert/parquet';

/** Data sets of the hub's first days have no owner. */
const NAME_ALONE = /^[A-Za-z0-9][\w.-]*$/;

const TRAINING = /(^|[^a-z])train(ing)?([^a-z]|$)/i;
const OTHER_SPLITS = /(^|[^a-z])(test|valid|validation|dev|eval)([^a-z]|$)/i;

/** The configuration of a data set that has no other. */
const ONLY = 'default';

/**
 * Of a data set's files those of a configuration, where one is named, and of the training split, where splits are told apart: by what `splitIn` takes of
 * a path.
 */
function chosen(paths: readonly string[], configuration: string | undefined, splitIn = (path: string): string => path): string[] {
  const named = paths.filter((path) => path.split('/').includes(configuration ?? ''));
  const own = configuration === undefined || (configuration === ONLY && named.length === 0) ? paths : named;
  const training = own.filter((path) => TRAINING.test(splitIn(path)));
  return (training.length > 0 ? training : own.filter((path) => !OTHER_SPLITS.test(splitIn(path)))).sort();
}

const isMetadata = (path: string): boolean => METADATA.some((name) => name === posix.basename(path));
const isTable = (path: string): boolean => path.endsWith('.parquet') && !isMetadata(path);

/** A path's folders, from the outermost: '' is the place itself. */
const foldersOf = (path: string): string[] => ['', ...path.split('/').slice(0, -1)].map((_, i, all) => all.slice(1, i + 1).join('/'));

/** Of a data set's files the pictures, as {@link chosen}, with what says their captions. A picture's own name says no split: it may be one of a train. */
function chosenPictures(paths: readonly string[], configuration: string | undefined): string[] {
  const pictures = chosen(
    paths.filter((path) => isImage(path) || TEXTS.some((kind) => path.endsWith(kind))),
    configuration,
    posix.dirname,
  );
  if (!pictures.some(isImage)) return [];
  const above = new Set(pictures.flatMap(foldersOf));
  return [...pictures, ...paths.filter((path) => isMetadata(path) && above.has(foldersOf(path).at(-1) as string))];
}

/** Says what of a data set is left out, where something is. */
function tellOthers(name: string, what: string, all: readonly string[], taken: readonly string[]): void {
  if (taken.length > 0 && taken.length < all.length)
    sayOnce(`${name}: ${taken.length} of ${all.length} ${what} are taken, as those of the training split and of the configuration`);
}

function tablesOf(name: string, paths: readonly string[], { datasetConfigName }: DataOptions): string[] {
  const all = paths.filter(isTable);
  const taken = chosen(all, datasetConfigName);
  tellOthers(name, 'tables', all, taken);
  return taken;
}

function picturesOf(name: string, paths: readonly string[], { datasetConfigName }: DataOptions): string[] {
  const taken = chosenPictures(paths, datasetConfigName);
  tellOthers(name, 'pictures', paths.filter(isImage), taken.filter(isImage));
  return taken;
}

/** Tables of a data set, and where they are. */
interface Tables {
  readonly files: HubFiles | ReturnType<typeof folder>;
  readonly paths: readonly string[];
}

/** A folder of pictures, and what of it is not to be used, by paths from it. */
export interface PictureFolder {
  readonly folder: string;
  readonly without?: ReadonlySet<string>;
}

/** The folder, at a place that has all these files or may have them, in which the chosen ones stand; none whose name says how often it is shown. */
function pictureFolder(place: string, all: readonly string[], pictures: readonly string[]): PictureFolder {
  const shared = foldersOf(pictures[0]).filter(
    (path) => !/(^|\/)\d+_/.test(path) && pictures.every((other) => foldersOf(other).includes(path)),
  );
  const from = shared.at(-1) as string;
  const taken = new Set(pictures);
  const others = all.filter((path) => !taken.has(path) && foldersOf(path).includes(from));
  return { folder: join(place, from), without: new Set(others.map((path) => posix.relative(from, path))) };
}

/** What a data set's name stands for: tables, or a folder of pictures. `streamed` tables are not fetched. */
async function found(o: DataOptions, name: string, streamed: boolean): Promise<Tables | PictureFolder> {
  const nothing = (fix = 'Give another name or configuration.'): never => {
    const of = o.datasetConfigName === undefined ? '' : ` of the configuration ${o.datasetConfigName}`;
    return fail('DATA_INVALID', 'dataset', `${name} has no .parquet files${streamed ? '' : ' and no pictures'}${of}`, fix);
  };
  const isHere = statSync(name, { throwIfNoEntry: false })?.isDirectory() ?? false;
  if (isHere) {
    const { files } = await walk(name);
    const tables = tablesOf(name, files, o);
    if (tables.length > 0) return { files: folder(name), paths: tables };
    const pictures = picturesOf(name, files, o);
    if (pictures.length > 0) return pictureFolder(name, files, pictures);
    // What else is there is said by who reads the folder.
    return o.datasetConfigName === undefined ? { folder: name } : nothing();
  }
  if (!isHubName(name) && !NAME_ALONE.test(name))
    fail(
      'OPTION_INVALID',
      'datasetName',
      `there is no folder ${name}, and it is no name of the hub's kind`,
      'Give a folder, or owner/name.',
    );
  const about = { kind: 'dataset', note: sayOnce, streamed } as const;
  const own = hub(name, about);
  const paths = await own.paths();
  const tables = tablesOf(name, paths, o);
  if (tables.length > 0) return { files: own, paths: tables };
  const pictures = streamed ? [] : picturesOf(name, paths, o);
  if (pictures.length > 0) return pictureFolder(await own.whole(pictures), paths, pictures);
  const converted = hub(name, { ...about, revision: CONVERTED });
  const others = await converted.paths().catch((error: unknown) => {
    // Not every data set has that branch.
    if (error instanceof SteploomError && error.code === 'HUB_MISSING') return [];
    throw error;
  });
  const tabled = tablesOf(name, others, o);
  return tabled.length > 0 ? { files: converted, paths: tabled } : nothing(own.ifMissing);
}

/** The folder of pictures to train on: one that is named, or what a data set's name stands for, fetched and unpacked. */
export async function dataFolder(o: DataOptions): Promise<PictureFolder> {
  if (o.datasetName === undefined) return { folder: o.trainDataDir as string };
  const place = await found(o, o.datasetName, false);
  return 'folder' in place ? place : { folder: await unpacked(o, place) };
}

/** The tables that a data set's name stands for, to be read while training. */
export async function streamedTables(o: DataOptions, name: string): Promise<PictureTables> {
  const place = await found(o, name, true);
  if ('folder' in place)
    return fail(
      'DATA_INVALID',
      'dataset',
      `${name} has no .parquet files`,
      'Leave streaming out: pictures of a folder are read one by one as it is.',
    );
  return { ...place, imageColumn: o.imageColumn, captionColumn: o.captionColumn };
}

/** Tables as a folder of pictures, in the cache (beside that of the hub, where Python's library knows every folder), named by all that decides what is in it. */
async function unpacked(o: DataOptions, { files, paths }: Tables): Promise<string> {
  const { imageColumn, captionColumn } = o;
  const sizes = await Promise.all(paths.map((path) => files.size(path)));
  const commit = 'commit' in files ? await files.commit() : '';
  const key = hashOfText(JSON.stringify([files.where, commit, paths, sizes, imageColumn, captionColumn]));
  const into = join(o.cacheDir ?? join((await hubSettings()).home, 'steploom'), 'datasets', key);
  await unpack({ files, paths, imageColumn, captionColumn }, into);
  return into;
}
