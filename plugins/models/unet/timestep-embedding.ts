/** Sinusoidal embedding of one timestep, [dim], computed on the host: sin and cos on some devices are off by 1e-4. */
export function timestepEmbedding(t: number, dim: number, flipSinToCos: boolean, freqShift: number): Float32Array {
  const half = Math.floor(dim / 2);
  const out = new Float32Array(dim);
  for (let i = 0; i < half; i++) {
    const angle = t * Math.exp((-Math.log(10000) * i) / (half - freqShift));
    out[flipSinToCos ? half + i : i] = Math.sin(angle);
    out[flipSinToCos ? i : half + i] = Math.cos(angle);
  }
  return out;
}
