import { statSync } from 'node:fs';
import { join } from 'node:path';
import { fail, hashOfText } from '../../core/index.js';
import { isImage } from '../../plugins/data/image-folder/kinds.js';
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

const TRAINING = /(^|[^a-z])train(ing)?([^a-z]|$)/i;
const OTHER_SPLITS = /(^|[^a-z])(test|valid|validation|dev|eval)([^a-z]|$)/i;

/** Of a data set's files those of a configuration, where one is named, and of the training split, where splits are told apart. */
function chosen(paths: readonly string[], configuration: string | undefined): string[] {
  const own = paths.filter((path) => configuration === undefined || path.split('/').includes(configuration));
  const training = own.filter((path) => TRAINING.test(path));
  return (training.length > 0 ? training : own.filter((path) => !OTHER_SPLITS.test(path))).sort();
}

/** The folder in which all of these stand; '' where that is the place itself. */
function sharedFolder(paths: readonly string[]): string {
  const [first, ...others] = paths.map((path) => path.split('/').slice(0, -1));
  const depth = first.findIndex((name, i) => others.some((folders) => folders[i] !== name));
  return first.slice(0, depth < 0 ? first.length : depth).join('/');
}

const isTable = (path: string): boolean => path.endsWith('.parquet') && !METADATA.some((name) => path.endsWith(name));
const isOfFolder = (path: string): boolean => isImage(path) || path.endsWith('.txt') || METADATA.some((name) => path.endsWith(name));

/** Tables of a data set, and where they are. */
interface Tables {
  readonly files: HubFiles | ReturnType<typeof folder>;
  readonly paths: readonly string[];
}

/** What a data set's name stands for: tables, or a folder of pictures. `streamed` tables are not fetched. */
async function found(o: DataOptions, name: string, streamed: boolean): Promise<Tables | string> {
  const isHere = statSync(name, { throwIfNoEntry: false })?.isDirectory() ?? false;
  if (isHere) {
    const { files } = await walk(name);
    const tables = chosen(files.filter(isTable), o.datasetConfigName);
    return tables.length > 0 ? { files: folder(name), paths: tables } : name;
  }
  if (!isHubName(name))
    fail(
      'OPTION_INVALID',
      'datasetName',
      `there is no folder ${name}, and it is no name of the hub's kind`,
      'Give a folder, or owner/name.',
    );
  const about = { kind: 'dataset', note: sayOnce, streamed } as const;
  const own = hub(name, about);
  const paths = await own.paths();
  const tables = chosen(paths.filter(isTable), o.datasetConfigName);
  if (tables.length > 0) return { files: own, paths: tables };
  const pictures = chosen(paths.filter(isOfFolder), o.datasetConfigName);
  // Below that folder alone: others of the set may be kept already.
  if (pictures.some(isImage) && !streamed) return join(await own.whole(pictures), sharedFolder(pictures));
  const converted = hub(name, { ...about, revision: CONVERTED });
  const others = chosen((await converted.paths()).filter(isTable), o.datasetConfigName);
  if (others.length > 0) return { files: converted, paths: others };
  return fail(
    'DATA_INVALID',
    'dataset',
    `${name} has no .parquet files${streamed ? '' : ' and no pictures'}${o.datasetConfigName === undefined ? '' : ` of the configuration ${o.datasetConfigName}`}`,
    'Give another name or configuration.',
  );
}

/** The folder of pictures to train on: one that is named, or what a data set's name stands for, fetched and unpacked. */
export async function dataFolder(o: DataOptions): Promise<string> {
  if (o.datasetName === undefined) return o.trainDataDir as string;
  const place = await found(o, o.datasetName, false);
  return typeof place === 'string' ? place : unpacked(o, place);
}

/** The tables that a data set's name stands for, to be read while training. */
export async function streamedTables(o: DataOptions, name: string): Promise<PictureTables> {
  const place = await found(o, name, true);
  if (typeof place === 'string')
    return fail(
      'DATA_INVALID',
      'dataset',
      `${place} has no .parquet files`,
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
