// LoRA steps of a denoiser of Stable Diffusion 1.5's size with random weights, 64 x 64 latents, beside PyTorch's where python3 has torch, diffusers
// and peft: milliseconds a step, the memory that the driver gave, the host's milliseconds, seconds of the first step with all compiling.
//   npm run build && node test/bench/sd15.mjs [device [scale [steps [driver [rows]]]]] [compile]
// `scale` divides sizes and `driver` may be null, which computes nothing: for a try without a GPU; of the table's rows so many are made. `compile` adds PyTorch
// with torch.compile, which takes minutes.
import { printTable } from './unet/table.mjs';

const given = process.argv.slice(2);
const compile = given.at(-1) === 'compile';
const [device, scale = '1', steps = '16', driver, rows] = compile ? given.slice(0, -1) : given;
printTable(
  'sd15',
  [
    { batch: 1, precision: 'fp16', torch: {} },
    { batch: 4, precision: 'fp16', torch: {} },
    ...(compile ? [{ batch: 4, precision: 'fp16', torch: { compile: true } }] : []),
    { batch: 4, precision: 'fp16', checkpointing: true, torch: {} },
    { batch: 4, precision: 'no', torch: {} },
  ],
  { device, scale: Number(scale), steps: Number(steps), driver, ...(rows ? { most: Number(rows) } : {}) },
);
