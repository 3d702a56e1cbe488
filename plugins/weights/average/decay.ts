/** How the decay of an average rises with the steps. */
export interface DecayOptions {
  /** The largest decay. */
  readonly decay?: number;
  /** The least, once the average moves at all. */
  readonly minDecay?: number;
  /**
   * How the decay rises over the first steps: 'none' (default) has the whole decay at once; 'ratio' is (1 + s) / (10 + s), 'power' is
   * 1 - (1 + s / invGamma)^-power (Crowson), s counting updates from 0. Both as diffusers' EMAModel, where 'ratio' is the usual.
   */
  readonly warmup?: 'none' | 'ratio' | 'power';
  readonly power?: number;
  readonly invGamma?: number;
  /** Steps during which the average is the weights themselves. */
  readonly updateAfterStep?: number;
}

/** The decay of step `step`, from 0; as diffusers' EMAModel.get_decay of step + 1, but for 'none'. */
export function emaDecay(
  step: number,
  { decay = 0.999, minDecay = 0, warmup = 'none', power = 2 / 3, invGamma = 1, updateAfterStep = 0 }: DecayOptions,
): number {
  const s = step - updateAfterStep;
  if (warmup === 'none') return s < 0 ? 0 : decay;
  if (s <= 0) return 0;
  const rising = warmup === 'power' ? 1 - (1 + s / invGamma) ** -power : (1 + s) / (10 + s);
  return Math.max(minDecay, Math.min(decay, rising));
}
