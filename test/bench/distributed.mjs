// Throughput of the base's training in 1, 2, ... processes, in turns of one run; ratios to one process.
//   npm run build && node test/bench/distributed.mjs [device] [batch a process] [steps] [processes,...] [accumulation] [mpirun] [turns]
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const [device = 'wasm', batch = '4', steps = '20', processes = '1,2', accumulation = '1', mpirun, turns = '2'] = process.argv.slice(2);
const here = (name) => fileURLToPath(new URL(name, import.meta.url));
const counts = processes.split(',').map(Number);
// Windows must be full: an epoch's end cuts one short.
const images = batch * accumulation * Math.max(...counts) * Math.max(2, Math.ceil(4 / accumulation));
/** One run's milliseconds a step and images a second. */
const run = (n) => {
  const train = ['train', 'emoji-base', '--device', device, '--config', here('distributed.config.mjs'), '--train_batch_size', batch];
  train.push('--max_train_steps', steps, '--lr_warmup_steps', '1', '--quiet', '--logging_steps', '1000', '--check_every', '0');
  train.push('--gradient_accumulation_steps', accumulation, '--pretrained_vae_model_name_or_path', here('../../presets/emoji/base'));
  train.push('--output_dir', here('../../runs/bench'), ...(device === 'wasm' ? ['--threads', '1'] : []));
  const launch = n === 1 ? [] : ['launch', '--processes', String(n), ...(mpirun ? ['--mpirun', mpirun] : []), '--'];
  const { stdout, stderr, status } = spawnSync(process.execPath, [here('../../dist/presets/cli/main.js'), ...launch, ...train], {
    encoding: 'utf8',
    env: { ...process.env, BENCH_BATCH: batch, BENCH_IMAGES: String(images) },
  });
  const line = /BENCH (.*)/.exec(stdout);
  if (status !== 0 || !line) throw new Error(`${n} processes ended with ${status}:\n${stdout}\n${stderr}`);
  const { ms, effectiveBatch } = JSON.parse(line[1]);
  return { ms, rate: (1000 * effectiveBatch) / ms };
};

const rates = new Map();
for (let turn = 1; turn <= turns; turn++)
  for (const n of counts) {
    const { ms, rate } = run(n);
    rates.set(n, [...(rates.get(n) ?? []), rate]);
    console.log(`turn ${turn}, ${n} process${n === 1 ? '' : 'es'}: ${ms.toFixed(1)} ms a step, ${rate.toFixed(0)} images a second`);
  }
const best = (n) => Math.max(...rates.get(n));
for (const n of counts.slice(1)) console.log(`${n} to ${counts[0]}: ${(best(n) / best(counts[0])).toFixed(2)} times`);
