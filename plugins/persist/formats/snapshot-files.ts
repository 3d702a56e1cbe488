import { fail, isTensorData, type Json, type Snapshot, type State, type TensorData } from '../../../core/index.js';
import { type Files, readFile, readJson } from './files.js';
import { readSafetensors, writeSafetensors } from './safetensors.js';
import { sha256 } from './sha256.js';

const TENSORS = 'state.safetensors';
/** Everything but its tensors. */
export const STATE_FILE = 'state.json';
/** Written last: a folder without it is none of ours, or was never finished. */
export const CHECKSUMS = 'checksums.json';

/** JSON has no NaN and no infinities, and would make null of them: they stand in it under this name. */
const NUMBER = '$number';
const withEveryNumber = (_: string, value: unknown): unknown =>
  typeof value === 'number' && !Number.isFinite(value) ? { [NUMBER]: String(value) } : value;

/** The numbers that {@link withEveryNumber} wrote, back in their places. */
function everyNumber(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(everyNumber);
  const entries = Object.entries(value);
  const [first] = entries;
  if (entries.length === 1 && first[0] === NUMBER) return Number(first[1]);
  return Object.fromEntries(entries.map(([name, inner]) => [name, everyNumber(inner)]));
}

/** Writes a snapshot as three files: its tensors, the rest as JSON, and the SHA-256 of both. */
export async function writeSnapshot(files: Files, { parameters, plugins, ...rest }: Snapshot): Promise<void> {
  const tensors: Record<string, TensorData> = {};
  for (const [path, value] of Object.entries(parameters)) tensors[`parameters/${path}`] = value;
  const states: Record<string, Record<string, Json>> = {};
  for (const [name, state] of Object.entries(plugins)) {
    states[name] = {};
    for (const [key, value] of Object.entries(state))
      if (isTensorData(value)) tensors[`plugins/${name}/${key}`] = value;
      else states[name][key] = value as Json;
  }
  const contents = {
    [TENSORS]: writeSafetensors(tensors),
    [STATE_FILE]: new TextEncoder().encode(`${JSON.stringify({ ...rest, plugins: states }, withEveryNumber, 2)}\n`),
  };
  const sums: Record<string, string> = {};
  for (const [name, bytes] of Object.entries(contents)) {
    sums[name] = await sha256(bytes);
    await files.write(name, bytes);
  }
  await files.write(CHECKSUMS, `${JSON.stringify(sums, null, 2)}\n`);
}

/** Reads a snapshot back. A file that is missing, cut or changed is an error that names it. */
export async function readSnapshot(files: Files): Promise<Snapshot> {
  const bad = (what: string): never =>
    fail('BAD_SNAPSHOT', 'checkpoint', `${files.where}/${what}`, 'Give the folder of a checkpoint that was written to its end.');
  const sums = await readJson(files, CHECKSUMS);
  for (const name of [TENSORS, STATE_FILE]) {
    const bytes = await readFile(files, name);
    if ((await sha256(bytes)) !== sums[name]) bad(`${name} is not what was written: its checksum differs`);
  }
  const rest = everyNumber(await readJson(files, STATE_FILE)) as unknown as Snapshot;
  const { tensors } = readSafetensors(await readFile(files, TENSORS), `${files.where}/${TENSORS}`);
  const isStep = Number.isSafeInteger(rest.step) && rest.step >= 0;
  if (!isStep || typeof rest.plugins !== 'object' || rest.plugins === null) bad(`${STATE_FILE} is no snapshot`);
  // Names come from a file: an object would take some of them for its prototype's.
  const parameters = new Map<string, TensorData>();
  const plugins = new Map(Object.entries(rest.plugins).map(([name, state]) => [name, new Map(Object.entries(state as State))]));
  for (const [key, value] of tensors) {
    const [kind, first, ...more] = key.split('/');
    const name = more.join('/');
    if (kind === 'parameters') parameters.set([first, ...more].join('/'), value);
    else if (kind === 'plugins' && name !== '') plugins.set(first, (plugins.get(first) ?? new Map()).set(name, value));
    else bad(`${TENSORS} holds ${key}, which belongs to nothing`);
  }
  return {
    ...rest,
    parameters: Object.fromEntries(parameters),
    plugins: Object.fromEntries([...plugins].map(([name, state]) => [name, Object.fromEntries(state)])),
  };
}
