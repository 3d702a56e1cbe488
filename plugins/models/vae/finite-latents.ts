import { fail } from '../../../core/index.js';

/** Fails with LATENTS_NOT_FINITE, naming the images, where latents or moments [n, ...] on the host hold NaN or infinity. `names` has one entry an image. */
export function requireFiniteLatents(latents: Float32Array, names: readonly string[]): void {
  const size = latents.length / names.length;
  const finite = (i: number) => latents.subarray(i * size, (i + 1) * size).every(Number.isFinite);
  const wrong = names.filter((_, i) => !finite(i));
  if (wrong.length === 0) return;
  const named = wrong.slice(0, 6).join(', ') + (wrong.length > 6 ? ` and ${wrong.length - 6} more` : '');
  fail(
    'LATENTS_NOT_FINITE',
    'autoencoder-kl',
    `the autoencoder gives no finite latents for ${named}`,
    'Look at the picture, or use another autoencoder: weights of some, rounded to float16, overflow.',
  );
}
