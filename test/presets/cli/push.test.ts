import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { inThisProcess } from '../../support/command-line.js';
import { type HubServer, hubServer } from '../../support/hub-server.js';

let folder: string;
let server: HubServer;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'steploom-pushed-'));
  server = await hubServer('a/b', {});
  vi.stubEnv('HF_HOME', join(folder, 'home'));
  vi.stubEnv('HF_ENDPOINT', server.endpoint);
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await server.close();
  await rm(folder, { recursive: true });
});

test('a run’s adapters are on the hub when it has ended, and its token is nowhere else', async () => {
  await sharp({ create: { width: 32, height: 32, channels: 3, background: 'red' } }).toFile(join(folder, 'a.png'));
  await writeFile(join(folder, 'a.txt'), 'red');
  const length = ['--train_data_dir', '.', '--device', 'wasm', '--max_train_steps', '1', '--train_batch_size', '1'];
  const to = ['--output_dir', 'run', '--report_to', 'tensorboard', '--push_to_hub', '--hub_model_id', 'me/red', '--hub_token', 'hf_secret'];
  const { code, err } = await inThisProcess(folder, ['train', 'lora-text-to-image', ...length, ...to]);
  expect([code, err]).toEqual([0, expect.stringContaining(`${server.endpoint}/me/red`)]);
  const files = server.pushed.get('me/red');
  expect([...(files?.keys() ?? [])].sort()).toEqual(['README.md', 'pytorch_lora_weights.safetensors', 'run.kohya.safetensors']);
  expect(files?.get('pytorch_lora_weights.safetensors')).toEqual(await readFile(join(folder, 'run', 'pytorch_lora_weights.safetensors')));
  // What a folder of this machine is called is nobody's business.
  expect(String(files?.get('README.md'))).toMatch(/tags:\n {2}- stable-diffusion\n[\s\S]*\| rank \| 4 \|\n[\s\S]*\| steps \| 1 \|/);
  expect(String(files?.get('README.md'))).not.toMatch(/base_model|datasets|steploom-pushed/);
  const written = (await readdir(folder, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile());
  for (const { name, parentPath } of written)
    expect([name, (await readFile(join(parentPath, name))).includes('hf_secret')]).toEqual([name, false]);
});
