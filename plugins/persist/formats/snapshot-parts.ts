import { fail, isTensorData, type Json, type Snapshot, type State, type TensorData } from '../../../core/index.js';

/** A snapshot as its tensors, by a name that says whose each is, and all the rest as JSON. */
export interface SnapshotParts {
  readonly tensors: ReadonlyMap<string, TensorData>;
  readonly rest: string;
}

/** What to do about a snapshot that is none. */
export const WHOLE = 'Give the folder of a checkpoint that was written to its end.';

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

/** Takes a snapshot apart; no number is copied. */
export function splitSnapshot({ parameters, plugins, ...rest }: Snapshot): SnapshotParts {
  const tensors = new Map(Object.entries(parameters).map(([path, value]) => [`parameters/${path}`, value]));
  const states: Record<string, Record<string, Json>> = {};
  for (const [name, state] of Object.entries(plugins)) {
    states[name] = {};
    for (const [key, value] of Object.entries(state))
      if (isTensorData(value)) tensors.set(`plugins/${name}/${key}`, value);
      else states[name][key] = value as Json;
  }
  return { tensors, rest: `${JSON.stringify({ ...rest, plugins: states }, withEveryNumber, 2)}\n` };
}

/** Puts a snapshot together from its parts, the rest parsed. BAD_SNAPSHOT for what is none, which names the part as `where` does. */
export function joinSnapshot(
  tensors: SnapshotParts['tensors'],
  parsed: unknown,
  where: Readonly<Record<keyof SnapshotParts, string>>,
): Snapshot {
  const rest = everyNumber(parsed) as Snapshot;
  const bad = (what: string): never => fail('BAD_SNAPSHOT', 'checkpoint', what, WHOLE);
  const isStep = Number.isSafeInteger(rest.step) && rest.step >= 0;
  if (!isStep || typeof rest.plugins !== 'object' || rest.plugins === null) bad(`${where.rest} is no snapshot`);
  // Names come from a file: an object would take some of them for its prototype's.
  const parameters = new Map<string, TensorData>();
  const plugins = new Map(Object.entries(rest.plugins).map(([name, state]) => [name, new Map(Object.entries(state as State))]));
  for (const [key, value] of tensors) {
    const [kind, first, ...more] = key.split('/');
    const name = more.join('/');
    if (kind === 'parameters') parameters.set([first, ...more].join('/'), value);
    else if (kind === 'plugins' && name !== '') plugins.set(first, (plugins.get(first) ?? new Map()).set(name, value));
    else bad(`${where.tensors} holds ${key}, which belongs to nothing`);
  }
  return {
    ...rest,
    parameters: Object.fromEntries(parameters),
    plugins: Object.fromEntries([...plugins].map(([name, state]) => [name, Object.fromEntries(state)])),
  };
}
