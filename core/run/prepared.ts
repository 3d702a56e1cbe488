import type { Source } from '../data.js';
import type { Forecast } from '../forecast.js';
import type { Metrics } from '../metrics.js';
import type { Model, Tensors } from '../model.js';
import type { Plan } from '../plan.js';
import type { Assembled } from '../plugin/container.js';
import type { Hooks } from '../plugin/hooks.js';
import type { DeviceReport, Optimizer } from '../plugin/roles.js';
import type { Members } from './members.js';
import type { Profile } from './profile.js';
import type { PendingRequests } from './requests.js';

export interface SessionOptions {
  /** Time and count every tap. */
  readonly profile?: boolean;
  /** What tells the run from others, in its snapshots and folders; drawn at random by default. A resumed run has its snapshot's. */
  readonly runId?: string;
  /** Where warnings go; console.warn by default. */
  readonly warn?: (text: string) => void;
}

/** A run as it is before its first step: everything that does not change from then on. */
export interface Prepared {
  readonly hooks: Hooks;
  readonly profile: Profile | null;
  readonly assembled: Assembled;
  readonly members: Members;
  readonly requests: PendingRequests;
  readonly warn: (text: string) => void;
  /** Files that plugins said they wrote. */
  readonly written: Set<string>;
  readonly device: DeviceReport;
  readonly source: Source;
  /** What tells the data set from others, where a snapshot may be taken or read; else empty. */
  readonly content: string;
  readonly plan: Plan;
  readonly model: Model;
  readonly optimizer: Optimizer;
  /** All weights, and the trained ones: the variables themselves, which stay the same throughout. */
  readonly weights: Tensors;
  readonly trained: Tensors;
  /** Groups of the trained parameters, in the model's order. */
  readonly groups: readonly string[];
  /** What a step takes, as far as it was looked for. */
  readonly forecast: Forecast | null;
  /** Tells this run from others; those that resume it are the same. */
  readonly runId: string;
  /** Steps that were made before, and the metrics last known then. */
  readonly startStep: number;
  readonly metrics: Metrics;
  /** Whether a stop broke off the evaluation after the last of those steps. */
  readonly evaluationDue: boolean;
}
