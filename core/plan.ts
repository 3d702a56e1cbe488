import { SteploomError } from './errors.js';

/** How long a run is; fixed before the first step. Lengths are in steps, whatever the window and the world size. */
export interface Plan {
  readonly steps: number;
  readonly epochs: number;
  readonly stepsPerEpoch: number;
  readonly microBatchesPerEpoch: number;
  readonly windowLength: number;
  readonly batchSize: number;
  /** Examples of one epoch over all ranks. */
  readonly items: number;
  readonly worldSize: number;
  /** Examples of one full step over all ranks: batch x window x ranks. */
  readonly effectiveBatch: number;
  readonly warmupSteps: number;
}

/** Where the run is: the step about to be made. */
export interface Position {
  readonly step: number;
  readonly epoch: number;
  readonly stepInEpoch: number;
  readonly startsEpoch: boolean;
  readonly endsEpoch: boolean;
  /** True for the last step of the plan. */
  readonly last: boolean;
}

/** One microBatch of a step. `endsWindow` is true for the last of a step, also when an epoch cuts the window short. */
export interface Micro {
  readonly step: number;
  readonly epoch: number;
  readonly index: number;
  /** Its number in the epoch. */
  readonly inEpoch: number;
  readonly endsWindow: boolean;
}

export interface PlanInput {
  readonly steps?: number;
  readonly epochs?: number;
  readonly warmupSteps: number;
  readonly warmupAtMost?: number;
  readonly windowLength: number;
  readonly batchSize: number;
  readonly items: number;
  readonly worldSize: number;
  /** The microBatches of the rank that has most. */
  readonly microBatchesPerEpoch: number;
}

/** Counts a run out. Throws PLAN_EMPTY where nothing could be trained. */
export function makePlan(input: PlanInput): Plan {
  const { windowLength, microBatchesPerEpoch, batchSize, worldSize } = input;
  const stepsPerEpoch = Math.ceil(microBatchesPerEpoch / windowLength);
  if (stepsPerEpoch === 0)
    throw new SteploomError({ code: 'PLAN_EMPTY', plugin: 'core', what: 'the data set has no examples', fix: 'Give it at least one.' });
  const steps = input.steps ?? (input.epochs ?? 1) * stepsPerEpoch;
  return {
    steps,
    epochs: Math.ceil(steps / stepsPerEpoch),
    stepsPerEpoch,
    microBatchesPerEpoch,
    windowLength,
    batchSize,
    items: input.items,
    worldSize,
    effectiveBatch: batchSize * windowLength * worldSize,
    warmupSteps: input.warmupAtMost === undefined ? input.warmupSteps : Math.min(input.warmupSteps, Math.floor(input.warmupAtMost * steps)),
  };
}

/** The position of a step: arithmetic, so resuming needs nothing but the step's number. */
export function positionOf(plan: Plan, step: number): Position {
  const epoch = Math.floor(step / plan.stepsPerEpoch);
  const stepInEpoch = step - epoch * plan.stepsPerEpoch;
  const last = step === plan.steps - 1;
  return {
    step,
    epoch,
    stepInEpoch,
    startsEpoch: stepInEpoch === 0,
    endsEpoch: stepInEpoch === plan.stepsPerEpoch - 1 || last,
    last,
  };
}

/** The microBatches of a step. */
export function microBatches(plan: Plan, { step, epoch, stepInEpoch }: Position): Micro[] {
  const first = stepInEpoch * plan.windowLength;
  const count = Math.min(plan.windowLength, plan.microBatchesPerEpoch - first);
  const micros: Micro[] = [];
  for (let index = 0; index < count; index++) micros.push({ step, epoch, index, inEpoch: first + index, endsWindow: index === count - 1 });
  return micros;
}
