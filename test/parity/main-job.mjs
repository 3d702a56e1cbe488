// The main job's first steps on several devices: losses against the first device's, and time a step. Each device trains in a
// process of its own, one after the other.
//   npm run build && node test/parity/main-job.mjs [steps] device device ... [--option=value ...]       options as of the preset emoji, in JSON
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { wordsAndOptions } from '../bench/options.mjs';

const { words, options } = wordsAndOptions(process.argv.slice(2));

if (process.argv[2] === '--one') {
  const [, device, steps, outputDir] = words;
  const [{ Trainer }, { emoji }] = await Promise.all([import('../../dist/core/index.js'), import('../../dist/presets/index.js')]);
  const stop = {
    name: 'stop',
    apply: ({ hooks }) => hooks.onRequest.tap('stop', (asked, { step }) => (step + 1 === Number(steps) ? { ...asked, stop: 1 } : asked)),
  };
  const preset = (await emoji({ device, loggingSteps: 1, outputDir, quiet: true, ...options })).without('emoji-figures').with(stop);
  const trainer = new Trainer(preset);
  const { device: name } = await trainer.explain();
  await trainer.train();
  process.stdout.write(`${name}\n`, () => process.exit());
} else {
  const [first, ...rest] = words;
  const more = process.argv.slice(2).filter((word) => word.startsWith('--'));
  const counted = /^\d+$/.test(first);
  const steps = counted ? Number(first) : 20;
  const devices = counted ? rest : [first, ...rest];
  const runs = devices.map((device) => {
    const folder = mkdtempSync(join(tmpdir(), 'steploom-'));
    execFileSync(process.execPath, [fileURLToPath(import.meta.url), '--one', device, String(steps), folder, ...more], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const log = readFileSync(join(folder, 'log.jsonl'), 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    rmSync(folder, { recursive: true });
    // From the third on: the first ones compile and warm up.
    const times = log
      .slice(1)
      .map(({ seconds }, i) => seconds - log[i].seconds)
      .slice(2)
      .sort((a, b) => a - b);
    return { device, losses: log.map(({ loss }) => loss), milliseconds: 1000 * times[Math.floor(times.length / 2)] };
  });
  const [base] = runs;
  console.log(`${base.losses.length} steps; losses compared with ${base.device}'s`);
  for (const { device, losses, milliseconds } of runs) {
    const gap = Math.max(...losses.map((loss, i) => Math.abs(loss - base.losses[i]) / base.losses[i]));
    console.log(
      `${device.padEnd(14)} ${milliseconds.toFixed(0)} ms a step (${(milliseconds / base.milliseconds).toFixed(2)} x), ` +
        `largest relative difference of a loss ${gap.toExponential(1)}, last loss ${losses.at(-1).toFixed(4)}`,
    );
    if (gap > 1e-3) process.exitCode = 1;
  }
}
