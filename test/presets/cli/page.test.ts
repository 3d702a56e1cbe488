import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';
import { expect, test } from 'vitest';

const cli = fileURLToPath(new URL('../../../dist/presets/cli/main.js', import.meta.url));

test('the page of a run shows what explain says of it', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'steploom-page-'));
  await sharp({ create: { width: 32, height: 32, channels: 3, background: 'red' } }).toFile(join(folder, 'a.png'));
  await writeFile(join(folder, 'a.txt'), 'red');
  const args = ['--train_data_dir', '.', '--device', 'wasm', '--train_batch_size', '1', '--lr_warmup_steps', '0', '--ui', '--quiet'];
  const child = spawn(process.execPath, [cli, 'train', 'lora-text-to-image', ...args], { cwd: folder });
  try {
    const address = await new Promise<string>((resolve, reject) => {
      let said = '';
      child.stderr.on('data', (text) => {
        said += text;
        const [, found] = /this run: (\S+)\n/.exec(said) ?? [];
        if (found) resolve(found);
      });
      child.once('close', () => reject(new Error(said)));
    });
    const [run] = (await (await fetch(address.replace('/?', '/data?'))).json()) as { explanation: string }[];
    expect(run.explanation).toMatch(/Hooks, in the order a run meets them[\s\S]*effective batch +1 = 1 x window 1 x ranks 1/);
  } finally {
    child.removeAllListeners('close');
    const closed = new Promise((resolve) => child.once('close', resolve));
    child.kill('SIGKILL');
    await closed;
    await rm(folder, { recursive: true });
  }
});
