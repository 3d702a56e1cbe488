import * as tf from '@tensorflow/tfjs';
import { SteploomError } from './errors.js';
import type { Metrics } from './hooks.js';
import type { Model } from './model.js';
import type { Plan } from './plan.js';

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** A tensor on the host. */
export interface TensorData {
  readonly dtype: 'float32' | 'int32' | 'uint8';
  readonly shape: readonly number[];
  readonly data: Float32Array | Int32Array | Uint8Array;
}

/** A plugin's state: tensors or JSON by name. */
export type State = Readonly<Record<string, TensorData | Json>>;

export const SNAPSHOT_VERSION = 1;

/** Everything a resumed run needs, taken between steps. Frozen weights are not in it: the model's own files hold them. */
export interface Snapshot {
  readonly version: number;
  /** The next step to make. */
  readonly step: number;
  readonly seed: number;
  readonly metrics: Metrics;
  /** Lengths that decide which example comes when; a resumed run must have the same. */
  readonly data: { readonly items: number; readonly batchSize: number; readonly windowLength: number; readonly worldSize: number };
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

/** Refuses a snapshot that this run cannot continue, naming every difference. */
export function checkSnapshot(snapshot: Snapshot, plan: Plan, seed: number): void {
  const differences: string[] = [];
  const compare = (name: string, saved: unknown, now: unknown) => {
    if (saved !== now) differences.push(`${name} was ${saved}, is ${now}`);
  };
  compare('format version', snapshot.version, SNAPSHOT_VERSION);
  compare('seed', snapshot.seed, seed);
  for (const key of ['items', 'batchSize', 'windowLength', 'worldSize'] as const) compare(key, snapshot.data?.[key], plan[key]);
  if (differences.length > 0)
    throw new SteploomError({
      code: 'SNAPSHOT_OTHER_RUN',
      plugin: 'core',
      what: `the snapshot belongs to a run with other settings: ${differences.join('; ')}`,
      fix: 'Give the same settings, or start anew.',
    });
}
