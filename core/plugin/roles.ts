import type { Collective } from '../collective.js';
import type { Batch, Data, Source } from '../data.js';
import type { Metrics } from '../metrics.js';
import type { Context, Model, Parameter, Tensors } from '../model.js';
import type { Random } from '../random.js';
import type { Snapshot, TensorData } from '../snapshot.js';
import type { Scalar, Tensor } from '../tf.js';

declare const brand: unique symbol;

/** A role is a job that exactly one plugin does; each is a tsyringe token as well. */
export type Role<N extends RoleName = RoleName> = symbol & { readonly [brand]: N };

/** The members a plugin must have to fill each role; looked at when a plugin comes from JavaScript. */
const MEMBERS = new Map<symbol, readonly string[]>();

/**
 * Makes a role: its name, and the members that what fills it must have. A kind of plugins may bring a role of its own, beside an
 * `interface Roles` that is declared once more to say what fills it.
 */
export function defineRole<N extends RoleName>(name: N, members: readonly (keyof Roles[N] & string)[]): Role<N> {
  const role = Symbol(name) as Role<N>;
  MEMBERS.set(role, members);
  return role;
}

export const RUN = defineRole('RUN', ['learningRate', 'weightDecay', 'seed', 'warmupSteps', 'groups']);
export const DEVICE = defineRole('DEVICE', ['setUp']);
export const MODEL = defineRole('MODEL', ['build']);
export const DATA = defineRole('DATA', ['open']);
export const OBJECTIVE = defineRole('OBJECTIVE', ['loss']);
export const OPTIMIZER = defineRole('OPTIMIZER', ['start', 'update', 'stateBytes']);
export const SCHEDULE = defineRole('SCHEDULE', []);
export const WINDOW = defineRole('WINDOW', ['length']);
export const CLIP = defineRole('CLIP', ['maxNorm', 'norm']);
export const COLLECTIVE = defineRole('COLLECTIVE', [
  'rank',
  'worldSize',
  'localRank',
  'localSize',
  'sum',
  'max',
  'allReduce',
  'broadcast',
  'gather',
  'barrier',
]);
export const RANDOM = defineRole('RANDOM', ['item', 'micro', 'named']);
export const CLOCK = defineRole('CLOCK', ['now']);
export const STORE = defineRole('STORE', ['read']);
export const EVALUATION = defineRole('EVALUATION', ['evaluate']);
export const PICTURES = defineRole('PICTURES', ['draw']);

/** A parameter group's own base rate and decay; what is absent is the run's. */
export interface GroupRates {
  readonly learningRate?: number | undefined;
  readonly weightDecay?: number | undefined;
}

/** Role RUN: what belongs to the run rather than to one of its plugins. */
export interface RunOptions {
  /** The base rate, which onSchedule's multiplier scales. */
  readonly learningRate: number;
  /** What decoupled decay takes from a weight, as a share of it, times the rate. */
  readonly weightDecay: number;
  /** Everything random follows from it. */
  readonly seed: number;
  /** Length in optimizer steps; wins over epochs. */
  readonly steps?: number;
  /** Length in passes over the data set. */
  readonly epochs?: number;
  /** Steps before the schedule begins; 0 for none. */
  readonly warmupSteps: number;
  /** The most of the run that warm-up may take: of a shorter run it takes this share. Without it a warm-up longer than the run is refused. */
  readonly warmupAtMost?: number;
  /** Other rates per parameter group; what is absent is the run's. */
  readonly groups: Readonly<Record<string, GroupRates>>;
}

/** Role DEVICE: makes a TensorFlow.js backend the current one. */
export interface Device {
  /** Throws with the reason when the device does not work. */
  setUp(): Promise<DeviceReport>;
  /**
   * Sends a tensor's values to the device's own memory, which otherwise waits for their first use. Devices that compute while the host
   * goes on have it: for them the core loads and sends the next batch while the present one is worked on.
   */
  upload?(tensor: Tensor): void;
  /** Gives back the memory that it keeps for tensors to come. */
  release?(): void;
  /** An error in words where what was thrown is a raw one of the device's own; otherwise undefined. */
  inWords?(thrown: unknown): Error | undefined;
}

export interface DeviceReport {
  readonly name: string;
  /** Threads, adapter, driver: whatever tells a user what this device is. */
  readonly detail: string;
  /** How much memory it has, or the most it can use. */
  readonly memory?: string;
  /** What cannot be had beyond, in bytes: all that is kept at one time, and one tensor. Absent where nobody knows. */
  readonly limits?: { readonly bytes?: number; readonly tensorBytes?: number };
}

/** Role MODEL: builds the model once the device is up. */
export interface ModelProvider {
  /** Builds or reads the model; its variables belong to the run, but those marked `borrowed`. */
  build(random: Random): Promise<Model>;
}

/** Role OBJECTIVE: the mean loss over a batch's items, a scalar. Called on the tape while training. */
export interface Objective {
  /** The loss of a batch through `context`: a mean over `batch.items`, so that onAccumulate can weigh it. */
  loss(context: Context, model: Model, batch: Batch): Scalar;
  /** How a step can be tried on smaller examples, to know beforehand what memory the run's own takes; null where that can't be. */
  trial?(model: Model, source: Source): Trial | null;
}

/** Losses of made-up square examples, whose work grows with their area and that area's square, and with the number of examples. */
export interface Trial {
  /** The side of the run's own examples, in units of the model's. */
  readonly side: number;
  /** The least side that can be tried; twice and four times as much can be as well. */
  readonly least: number;
  /** How a side is called. */
  named(side: number): string;
  /** What one of the run's own examples takes at the very most, in bytes: all that is kept at a time, and its largest tensor. Nothing is tried where that fits. */
  readonly atMost: { readonly kept: number; readonly largest: number };
  loss(context: Context, model: Model, items: number, side: number): Scalar;
}

/** What the loop hands to an optimizer: sums of gradients, the factor that makes them means, and whether to apply them. */
export interface Update {
  readonly gradients: Tensors;
  readonly scale: number | Scalar;
  /** 1 or 0, as a number or on the device; 0 keeps every old value. */
  readonly finite: number | Scalar;
}

/** What an optimizer moves a parameter group's weights by in this step. */
export interface Rates {
  readonly learningRate: number;
  readonly weightDecay: number;
}

/** Role OPTIMIZER: what a step does to the weights, with state of its own that it saves. */
export interface Optimizer {
  /** The learning rate this optimizer is usually given; another one warns. */
  readonly usualLearningRate?: number;
  /** Base rates of parameter groups, which it knows once the model is prepared; what is absent is the run's. */
  readonly groups?: RunOptions['groups'];
  /** True where an update looks at all parameters together (prodigy): ranks cannot share them out. */
  readonly needsAll?: boolean;
  /** Told once which parameters it updates, before restore; `trained` are those that are trained, where other ranks update some of them. */
  start(parameters: ReadonlyMap<string, Parameter>, trained?: ReadonlyMap<string, Parameter>): void;
  /** Applies one step in place to its parameters. Must not read back from the device. Disposes nothing of `update`. */
  update(update: Update, rates: Readonly<Record<string, Rates>>, step: number): void;
  /** Bytes of state held, once started. */
  stateBytes(): number;
}

/** Role SCHEDULE: the plugin taps onSchedule; this says what it needs to know. */
export interface Schedule {
  /** True where the rate depends on the run's total length. */
  readonly needsLength?: boolean;
  /** True where the rate depends on metrics, so that explain() cannot foresee it. */
  readonly unknown?: boolean;
}

/** Role WINDOW: how many microBatches make one step. */
export interface AccumulationWindow {
  /** MicroBatches a step; fixed before the plan is made. */
  readonly length: number;
}

/** Role CLIP: clipping of gradients. */
export interface Clip {
  /** What a norm above it is scaled down to. */
  readonly maxNorm: number;
  /** The norm before clipping of the step being made, borrowed; null before the first. */
  norm(): Scalar | null;
}

/** Role CLOCK: milliseconds from any origin. */
export interface Clock {
  /** The time. */
  now(): number;
}

/** Role STORE: where a snapshot comes from on resume; it saves in onCheckpoint. */
export interface Store {
  /** Differences that a resumed run may have, by the names that SNAPSHOT_OTHER_RUN gives them. */
  readonly overrides?: readonly string[];
  /** The snapshot to go on from; null to begin anew. Asked on rank 0 alone. */
  read(): Promise<Snapshot | null>;
  /** Where the newest snapshot is that the run has saved, in words; null where it has saved none. */
  kept?(): string | null;
}

/** Role EVALUATION: what the model is worth on data that is not trained on. */
export interface Evaluation {
  /** The metrics of the weights that onWeights gives for evaluation; the same on every rank, each of which calls it. Once set-up is complete. */
  evaluate(): Promise<Metrics>;
}

/** Role PICTURES: draws what the model has learnt. */
export interface Pictures {
  /** Pictures [n, height, width, 3] from 0 to 1 of prompts, of its own where none are given. Once set-up is complete. */
  draw(prompts?: readonly string[]): Promise<TensorData>;
}

export interface Roles {
  RUN: RunOptions;
  DEVICE: Device;
  MODEL: ModelProvider;
  DATA: Data;
  OBJECTIVE: Objective;
  OPTIMIZER: Optimizer;
  SCHEDULE: Schedule;
  WINDOW: AccumulationWindow;
  CLIP: Clip;
  COLLECTIVE: Collective;
  RANDOM: Random;
  CLOCK: Clock;
  STORE: Store;
  EVALUATION: Evaluation;
  PICTURES: Pictures;
}

export type RoleName = keyof Roles;

/** Whether a value is a role that somebody defined. */
export const isRole = (value: unknown): value is Role => MEMBERS.has(value as symbol);

/** The members that what fills a role must have. */
export const membersOf = (role: Role): readonly string[] => MEMBERS.get(role) ?? [];

/** Roles without which nothing trains. The others have a quiet default, or may stay empty (CLIP, STORE, EVALUATION, PICTURES). */
export const REQUIRED_ROLES: readonly Role[] = [RUN, DEVICE, MODEL, DATA, OBJECTIVE, OPTIMIZER];

export const roleName = (role: Role): RoleName => role.description as RoleName;
