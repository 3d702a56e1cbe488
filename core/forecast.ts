/** A part of the model that a plugin would have captured, and why it is not; null where it is. */
export interface GraphForecast {
  readonly path: string;
  readonly why: string | null;
}

/** What a step takes of the device's memory at one time: weights, the optimizer's state, what a window has added up, and forward and backward of a microBatch. */
export interface MemoryForecast {
  /** All of it, in bytes. */
  readonly bytes: number;
  /** Its largest piece. */
  readonly largest: number;
  /** True where these are the pieces that the device is asked for; else what must be there at the least. */
  readonly exact: boolean;
}

/** What was found of a step before it is made. */
export interface Forecast {
  /** Null where a step waits for values of tensors. */
  readonly memory: MemoryForecast | null;
  readonly graphs: readonly GraphForecast[];
}
