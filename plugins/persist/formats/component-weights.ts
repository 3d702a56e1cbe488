import { abridged, fail } from '../../../core/index.js';
import { type Files, readJson } from './files.js';
import { PICKLES } from './pickle.js';
import { openSafetensors } from './safetensors.js';
import type { StoredTensor, StoredTensors } from './stored-tensors.js';
import { todaysName } from './todays-names.js';

/** Variants that people have, in the order in which they are looked for where there is nothing else. */
const VARIANTS = ['fp16', 'bf16', 'fp32', 'non_ema', 'ema'];

export interface OpenComponentOptions {
  /** The variant to take where the component has it: fp16, say. */
  readonly variant?: string;
  /** Told where another file was taken than was asked for, and where there were two to choose from. */
  readonly note?: (what: string) => void;
}

/**
 * The weights of one component of a model in diffusers' layout: those with this stem (diffusion_pytorch_model; model for text encoders) in its folder
 * (`unet`, say; '' for the place itself), in one file or in several with an index. A component without the variant that was asked for falls back to its
 * plain file, and one that has a variant only is taken as it is; `note` says so. Names are today's and without `text_model.`; position_ids, a constant,
 * is left out. FILE_MISSING where there is nothing or an index names what is not there, BAD_SAFETENSORS where there are only files that could hold code.
 */
export async function openComponent(
  files: Files,
  folder: string,
  stem: string,
  { variant, note }: OpenComponentOptions = {},
): Promise<StoredTensors> {
  const wanted = variant ?? null;
  for (const candidate of new Set([wanted, null, ...VARIANTS])) {
    const place = await placeOf(files, folder, stem, candidate);
    if (!place) continue;
    const at = inFolder(files.where, folder);
    if (candidate !== wanted)
      note?.(
        `${at} has no ${wanted === null ? 'plain weights' : `variant ${wanted}`}: ${candidate === null ? 'the plain ones are' : candidate} taken`,
      );
    if (place.length > 1) note?.(`${at} has both ${place.join(' and ')}: the first is taken`);
    const path = inFolder(folder, place[0]);
    return todaysNames(place[0].endsWith('.json') ? await openShards(files, folder, path) : (await openSafetensors(files, path)).tensors);
  }
  return refuse(files, folder, stem, wanted);
}

/** The names of a component's file or index that are there; null if none is. */
async function placeOf(files: Files, folder: string, stem: string, variant: string | null): Promise<string[] | null> {
  const names =
    variant === null
      ? [`${stem}.safetensors`, `${stem}.safetensors.index.json`]
      : [
          `${stem}.${variant}.safetensors`,
          `${stem}.safetensors.index.${variant}.json`,
          // As diffusers wrote it before 0.28.
          `${stem}.safetensors.${variant}.index.json`,
        ];
  const there = [];
  for (const name of names) if ((await files.size(inFolder(folder, name))) !== null) there.push(name);
  return there.length > 0 ? there : null;
}

/** The tensors of several files, by the index that says which stands where. */
async function openShards(files: Files, folder: string, path: string): Promise<StoredTensors> {
  const where = `${files.where}/${path}`;
  const { weight_map: map } = await readJson(files, path);
  const bad = (what: string): never => fail('BAD_JSON', 'files', `${where} ${what}`, 'Fetch the index and its files again.');
  if (typeof map !== 'object' || map === null || Array.isArray(map)) return bad('has no weight_map');
  const byShard = new Map<string, string[]>();
  for (const [name, shard] of Object.entries(map)) {
    if (typeof shard !== 'string' || /[/\\]/.test(shard))
      bad(`says that ${name} stands in ${JSON.stringify(shard)}, which is no file beside it`);
    byShard.set(shard, [...(byShard.get(shard) ?? []), name]);
  }
  const tensors = new Map<string, StoredTensor>();
  const missing: string[] = [];
  for (const shard of [...byShard.keys()].sort()) {
    const names = byShard.get(shard) as string[];
    if ((await files.size(inFolder(folder, shard))) === null) {
      missing.push(`${shard} (${abridged(names)})`);
      continue;
    }
    const { tensors: found } = await openSafetensors(files, inFolder(folder, shard));
    const absent = names.filter((name) => !found.has(name));
    if (absent.length > 0)
      fail(
        'WEIGHTS_MISMATCH',
        'files',
        `${where} says that ${shard} holds ${abridged(absent)}: it does not`,
        'Fetch the index and its files again.',
      );
    // What the index does not name is loaded too, and what it says to stand elsewhere is not.
    for (const [name, stored] of found)
      if (!Object.hasOwn(map, name) || (map as Record<string, unknown>)[name] === shard) tensors.set(name, stored);
  }
  if (missing.length > 0)
    fail('FILE_MISSING', 'files', `${where} names files that are not there: ${missing.join('; ')}`, files.ifMissing ?? 'Fetch them too.');
  return tensors;
}

/** A path below a folder, '' being the place itself. */
const inFolder = (folder: string, name: string): string => (folder === '' || name === '' ? folder + name : `${folder}/${name}`);

function todaysNames(tensors: StoredTensors): StoredTensors {
  const named = new Map<string, StoredTensor>();
  for (const [name, stored] of tensors) {
    const today = todaysName(name);
    if (today === null) continue;
    if (named.has(today))
      fail('WEIGHTS_MISMATCH', 'files', `${stored.where} holds ${today} twice, once under the old name ${name}`, 'Save the model again.');
    named.set(today, stored);
  }
  return named;
}

/** Says that a component has no weights that can be read, and why. */
async function refuse(files: Files, folder: string, stem: string, variant: string | null): Promise<never> {
  const at = inFolder(files.where, folder);
  const stems = stem === 'model' ? [stem, 'pytorch_model'] : [stem];
  for (const name of stems.flatMap((one) => ['', '.fp16', ...(variant ? [`.${variant}`] : [])].map((middle) => one + middle)))
    for (const ending of [...PICKLES, '.bin.index.json'])
      if ((await files.size(inFolder(folder, name + ending))) !== null)
        fail(
          'BAD_SAFETENSORS',
          'files',
          `${at} has its weights in ${name}${ending} only, a file that could hold code, which would run when it is read`,
          'Where you trust its source, load the model with diffusers and save it with save_pretrained(folder, safe_serialization=True).',
        );
  return fail(
    'FILE_MISSING',
    'files',
    `${at} has no ${stem}.safetensors and no index of its parts`,
    files.ifMissing ?? 'Check the path of the model.',
  );
}
