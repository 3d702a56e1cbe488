// LoRA steps of a denoiser of Stable Diffusion XL's size with random weights, 128 x 128 latents, beside PyTorch's where python3 has torch, diffusers
// and peft: milliseconds a step, the memory that the driver gave, the host's milliseconds, seconds of the first step with all compiling.
//   npm run build && node test/bench/sdxl.mjs [device [scale [steps [driver [rows]]]]]
// `scale` divides sizes and `driver` may be null, which computes nothing: for a try without a GPU; of the table's rows so many are made.
import { printTable } from './unet/table.mjs';

const [device, scale = '1', steps = '16', driver, rows] = process.argv.slice(2);
printTable(
  'sdxl',
  [
    { batch: 1, precision: 'fp16', torch: {} },
    { batch: 1, precision: 'fp16', checkpointing: true, torch: {} },
  ],
  { device, scale: Number(scale), steps: Number(steps), driver, ...(rows ? { most: Number(rows) } : {}) },
);
