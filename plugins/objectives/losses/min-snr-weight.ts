import type { PredictionType } from '../../models/stable-diffusion/noise-schedule.js';

/** The weight of min-SNR (Hang et al. 2023) where the signal's share is `abar`: min(snr, gamma) / snr for epsilon, min(snr, gamma) / (snr + 1) for v, min(snr, gamma) for the image itself. */
export function minSnrWeight(abar: number, gamma: number, prediction: PredictionType): number {
  const snr = abar / (1 - abar);
  const least = Math.min(snr, gamma);
  if (prediction === 'sample') return least;
  // At snr 0 the limit is 1 for epsilon.
  if (prediction === 'epsilon') return snr === 0 ? 1 : least / snr;
  return least / (snr + 1);
}
