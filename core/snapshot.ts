import * as tf from '@tensorflow/tfjs';
import { SteploomError } from './errors.js';
import type { Metrics } from './metrics.js';
import type { Model } from './model.js';

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** A tensor on the host. */
export interface TensorData {
  readonly dtype: 'float32' | 'int32' | 'uint8';
  readonly shape: readonly number[];
  readonly data: Float32Array | Int32Array | Uint8Array;
}

/** A plugin's state: tensors or JSON by name. */
export type State = Readonly<Record<string, TensorData | Json>>;

export const SNAPSHOT_VERSION = 2;

/** Everything a resumed run needs, taken between steps. Frozen weights are not in it: the model's own files hold them. */
export interface Snapshot {
  readonly version: number;
  /** The next step to make. */
  readonly step: number;
  readonly seed: number;
  readonly metrics: Metrics;
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

/** Refuses a snapshot that this run cannot continue, naming every difference that is not overridden. */
export function checkSnapshot(
  snapshot: Snapshot,
  now: Readonly<Record<(typeof MATTERS)[number], string | number>>,
  overrides: readonly string[] = [],
): void {
  const unknown = overrides.filter((name) => !(MATTERS as readonly string[]).includes(name));
  const differences: string[] = [];
  if (unknown.length > 0) differences.push(`there is no ${unknown.join(', ')} to override (${MATTERS.join(', ')})`);
  if (snapshot.version !== SNAPSHOT_VERSION) differences.push(`format version was ${snapshot.version}, is ${SNAPSHOT_VERSION}`);
  for (const name of MATTERS) {
    const saved = name === 'seed' ? snapshot.seed : snapshot.data?.[name];
    if (saved !== now[name] && !overrides.includes(name))
      differences.push(name === 'content' ? 'content: the data set is another' : `${name} was ${saved}, is ${now[name]}`);
  }
  if (differences.length > 0)
    throw new SteploomError({
      code: 'SNAPSHOT_OTHER_RUN',
      plugin: 'core',
      what: `the snapshot belongs to a run with other settings: ${differences.join('; ')}`,
      fix: 'Give the same settings, name the differences you mean in overrides, or start anew.',
    });
}

/** What a resumed run changes, and applies, in words. */
export function changes(saved: Snapshot['run'], now: Snapshot['run']): string[] {
  const text = (value: unknown) => (typeof value === 'object' ? JSON.stringify(value) : String(value));
  return (Object.keys(now) as (keyof Snapshot['run'])[])
    .filter((name) => text(saved?.[name]) !== text(now[name]))
    .map((name) => `${name} was ${text(saved?.[name])}, is ${text(now[name])} from here on`);
}
