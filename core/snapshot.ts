import { type Problem, SteploomError } from './errors.js';
import type { Metrics } from './metrics.js';
import type { Model } from './model.js';
import * as tf from './tf.js';

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** A tensor on the host. */
export interface TensorData {
  readonly dtype: 'float32' | 'int32' | 'uint8';
  readonly shape: readonly number[];
  readonly data: Float32Array | Int32Array | Uint8Array;
}

/** A plugin's state: tensors or JSON by name. */
export type State = Readonly<Record<string, TensorData | Json>>;

/** Options of a plugin that change what the run's numbers mean. */
export type Settings = Readonly<Record<string, Json>>;

/** 2 had no settings of plugins. */
export const SNAPSHOT_VERSION = 3;
const READABLE = [2, 3];

/** Everything a resumed run needs, taken between steps. Frozen weights are not in it: the model's own files hold them. */
export interface Snapshot {
  readonly version: number;
  /** Which run it is of: the same through all that resume it. Absent before version 3. */
  readonly runId?: string;
  /** The next step to make. */
  readonly step: number;
  readonly seed: number;
  readonly metrics: Metrics;
  /** True where a stop broke off the evaluation after the last step: a resumed run makes it before it goes on. */
  readonly evaluationDue?: true;
  /** Lengths that decide which example comes when; a resumed run must have the same. */
  readonly data: {
    readonly items: number;
    readonly batchSize: number;
    readonly windowLength: number;
    readonly worldSize: number;
    /** The data set's fingerprint, where it has one. */
    readonly content: string;
  };
  /** What a resumed run may change. */
  readonly run: {
    readonly learningRate: number;
    readonly weightDecay: number;
    readonly steps: number;
    readonly warmupSteps: number;
    readonly groups: Json;
  };
  /** What plugins say of their options; absent in version 2. */
  readonly settings?: Readonly<Record<string, Settings>>;
  readonly parameters: Readonly<Record<string, TensorData>>;
  readonly plugins: Readonly<Record<string, State>>;
}

export const isTensorData = (value: unknown): value is TensorData =>
  typeof value === 'object' && value !== null && ArrayBuffer.isView((value as TensorData).data);

/** Copies a tensor to the host. */
export async function toHost(tensor: tf.Tensor): Promise<TensorData> {
  const dtype = tensor.dtype === 'int32' ? 'int32' : 'float32';
  return { dtype, shape: tensor.shape, data: (await tensor.data()).slice() as Float32Array };
}

/** Copies several tensors, all reads under way at once. */
export async function allToHost(tensors: Readonly<Record<string, tf.Tensor>>): Promise<Record<string, TensorData>> {
  const entries = await Promise.all(Object.entries(tensors).map(async ([name, t]) => [name, await toHost(t)] as const));
  return Object.fromEntries(entries);
}

/** A tensor from the host; the caller owns it. */
export const fromHost = ({ data, shape, dtype }: TensorData): tf.Tensor =>
  tf.tensor(data as Float32Array, shape as number[], dtype === 'float32' ? 'float32' : 'int32');

/** Puts host values into variables, by name and strictly: missing, unexpected and wrongly shaped ones are all named. */
export function assignAll(owner: string, variables: ReadonlyMap<string, tf.Variable>, state: Readonly<Record<string, unknown>>): void {
  const wrong: string[] = [];
  for (const [name, variable] of variables) {
    const value = state[name];
    if (!isTensorData(value)) wrong.push(`${name} is missing`);
    else if (String(value.shape) !== String(variable.shape)) wrong.push(`${name} has shape [${value.shape}], expected [${variable.shape}]`);
  }
  for (const name of Object.keys(state)) if (!variables.has(name)) wrong.push(`${name} is unexpected`);
  if (wrong.length > 0) {
    const shown = wrong.slice(0, 8).join('; ') + (wrong.length > 8 ? `; and ${wrong.length - 8} more` : '');
    throw new SteploomError({
      code: 'SNAPSHOT_MISMATCH',
      plugin: owner,
      what: `the saved state does not fit: ${shown}`,
      fix: 'Resume with the model and plugins that wrote it.',
    });
  }
  for (const [name, variable] of variables) {
    const value = fromHost(state[name] as TensorData);
    variable.assign(value as tf.Tensor<tf.Rank>);
    value.dispose();
  }
}

export const trainableVariables = (model: Model): Map<string, tf.Variable> =>
  new Map([...model.parameters].filter(([, p]) => p.trainable).map(([path, p]) => [path, p.variable]));

/** What decides which example comes when, and with which noise; by the names that errors and overrides use. */
const MATTERS = ['seed', 'items', 'batchSize', 'windowLength', 'worldSize', 'content'] as const;

type Compared = Readonly<Record<string, Json | undefined>>;

/** Settings of all plugins as `plugin.option`. */
const flattened = (settings: Readonly<Record<string, Settings>>): Compared =>
  Object.fromEntries(
    Object.entries(settings).flatMap(([plugin, options]) => Object.entries(options).map(([name, value]) => [`${plugin}.${name}`, value])),
  );

const inWords = (value: unknown): string =>
  value === undefined ? 'not there' : typeof value === 'object' ? JSON.stringify(value) : String(value);

/** Differences between two records, in words. */
const differing = (saved: Compared, now: Compared): { name: string; words: string }[] =>
  [...new Set([...Object.keys(now), ...Object.keys(saved)])]
    .filter((name) => inWords(saved[name]) !== inWords(now[name]))
    .map((name) => ({
      name,
      words: name === 'content' ? 'content: the data set is another' : `${name} was ${inWords(saved[name])}, is ${inWords(now[name])}`,
    }));

/**
 * Compares a snapshot with the run that is to go on from it: `refused` names every difference that is not overridden, `meant` has those
 * that are, in words.
 */
export function compareSnapshot(
  snapshot: Snapshot,
  now: Readonly<Record<(typeof MATTERS)[number], string | number>> & { readonly settings: Readonly<Record<string, Settings>> },
  overrides: readonly string[] = [],
): { refused: Problem[]; meant: string[] } {
  const settings = flattened(now.settings);
  const current: Compared = { ...Object.fromEntries(MATTERS.map((name) => [name, now[name]])), ...settings };
  const saved: Compared = {
    ...Object.fromEntries(MATTERS.map((name) => [name, name === 'seed' ? snapshot.seed : snapshot.data?.[name]])),
    // A snapshot without settings cannot be compared in them.
    ...(snapshot.settings ? flattened(snapshot.settings) : settings),
  };
  const refused: string[] = [];
  const known = new Set([...Object.keys(current), ...Object.keys(saved)]);
  // A plugin's name stands for all of its options.
  const isMeant = (name: string) => overrides.includes(name) || overrides.includes(name.split('.')[0]);
  const unknown = overrides.filter((name) => ![...known].some((one) => one === name || one.split('.')[0] === name));
  if (unknown.length > 0) refused.push(`there is no ${unknown.join(', ')} to override (${[...known].join(', ')})`);
  if (!READABLE.includes(snapshot.version)) refused.push(`format version was ${snapshot.version}, is ${SNAPSHOT_VERSION}`);
  const differences = differing(saved, current);
  refused.push(...differences.filter(({ name }) => !isMeant(name)).map(({ words }) => words));
  const problem: Problem = {
    code: 'SNAPSHOT_OTHER_RUN',
    plugin: 'core',
    what: `the snapshot belongs to a run with other settings: ${refused.join('; ')}`,
    fix: 'Give the same settings, name the differences you mean in overrides, or start anew.',
  };
  return { refused: refused.length > 0 ? [problem] : [], meant: differences.map(({ words }) => `${words} from here on`) };
}

/** What a resumed run changes, and applies, in words. */
export const changes = (saved: Snapshot['run'], now: Snapshot['run']): string[] =>
  differing({ ...saved }, { ...now }).map(({ words }) => `${words} from here on`);
