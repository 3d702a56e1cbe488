import { execFileSync, spawnSync } from 'node:child_process';
import { cpus } from 'node:os';
import { fileURLToPath } from 'node:url';

const here = (name) => fileURLToPath(new URL(name, import.meta.url));

/** The last line of JSON that a command printed; null where it failed, with what it said. */
function last(command, args, env = {}) {
  const { stdout, stderr, status } = spawnSync(command, args, { encoding: 'utf8', env: { ...process.env, ...env }, maxBuffer: 2 ** 26 });
  const line = stdout?.split('\n').findLast((one) => one.startsWith('{'));
  if (line) return JSON.parse(line);
  console.log(`${args.at(-1)}: ended with ${status}: ${(stderr ?? '').trim().split('\n').slice(-3).join(' | ')}`);
  return null;
}

const works = (command, args) => spawnSync(command, args, { stdio: 'ignore' }).status === 0;

/** Prints how long LoRA steps take, ours and PyTorch's, one process after the other. `rows` are what lora-step.mjs is asked for, with `torch` as the peer's way; `most` of them are made. */
export function printTable(model, rows, { device = 'webgpu', scale = 1, steps = 16, driver, most = rows.length } = {}) {
  let card = '';
  try {
    card = execFileSync('nvidia-smi', ['--query-gpu=name', '--format=csv,noheader'], { encoding: 'utf8' }).trim().split('\n')[0];
  } catch {}
  const torch = !driver && works('python3', ['-c', 'import torch, diffusers, peft; assert torch.cuda.is_available()']);
  console.log(`${model}: LoRA steps of rank 16; ${card || 'no NVIDIA card'}, ${cpus()[0].model}`);
  console.log(
    torch
      ? 'beside them PyTorch, as diffusers’ scripts configure it'
      : 'python3 has no torch with CUDA, diffusers and peft here: steploom alone',
  );
  console.log('| step | PyTorch | steploom | ratio | the host’s part | first step |\n| --- | --- | --- | --- | --- | --- |');
  const known = new Map();
  for (const { torch: peer, ...row } of rows.slice(0, most)) {
    const key = JSON.stringify(row);
    const ours =
      known.get(key) ??
      last(process.execPath, [
        here('lora-step.mjs'),
        JSON.stringify({ ...row, model, device, scale, steps, ...(driver ? { driver } : {}) }),
      ]);
    known.set(key, ours);
    const theirs = torch && peer ? last('python3', [here('lora_step.py'), JSON.stringify({ ...row, ...peer, model })]) : null;
    const name = `batch ${row.batch}, ${row.precision === 'no' ? 'float32' : 'fp16'}${row.checkpointing ? ', checkpointing' : ''}${peer?.compile ? ', torch.compile' : ''}`;
    const figures = (one) => (one ? `${one.ms} ms${one.gib === undefined ? '' : `, ${one.gib} GiB`}` : '-');
    const calls = ours?.calls ? `, of which ${ours.callMs} ms in ${ours.calls} calls` : '';
    const ratio = ours && theirs ? (ours.ms / theirs.ms).toFixed(2) : '-';
    console.log(
      `| ${name} | ${figures(theirs)} | ${figures(ours)} | ${ratio} | ${ours ? `${ours.host} ms${calls}` : '-'} | ${ours ? `${ours.first} s` : '-'} |`,
    );
  }
}
