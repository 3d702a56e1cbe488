import { schedule } from './curve/schedule.js';

export interface WarmupStableDecayOptions {
  /** Steps of decay at the end of the run; below 1, a share of it. */
  readonly decay?: number;
  /** The multiplier at the end. */
  readonly end?: number;
  readonly shape?: 'linear' | 'cosine' | '1-sqrt';
}

/** Stays at 1 after warm-up and decays over the last steps (Hu et al. 2024, MiniCPM; 1-sqrt: Hägele et al. 2024). */
export const warmupStableDecay = ({ decay = 0.1, end = 0, shape = 'linear' }: WarmupStableDecayOptions = {}) =>
  schedule(
    'warmup-stable-decay',
    ({ step, totalSteps }) => {
      const length = decay < 1 ? Math.max(1, Math.round(decay * totalSteps)) : decay;
      const q = Math.min(1, Math.max(0, (step - (totalSteps - length)) / length));
      const fallen = { linear: 1 - q, cosine: 0.5 * (1 + Math.cos(Math.PI * q)), '1-sqrt': 1 - Math.sqrt(q) }[shape];
      return end + (1 - end) * fallen;
    },
    { settings: { decay, end, shape }, check: (options) => options.positive('decay', decay) },
  );
