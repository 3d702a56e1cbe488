import { fail } from '../../../../core/index.js';

/** Refuses an adapter that does not fit: LORA_MISMATCH, with the file's name. */
export const loraMismatch = (where: string, what: string, fix = 'Use an adapter that was trained on this model.'): never =>
  fail('LORA_MISMATCH', 'lora', `${where}: ${what}`, fix);
