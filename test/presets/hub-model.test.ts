import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { readComponents } from '../../plugins/models/stable-diffusion/read.js';
import type { Files } from '../../plugins/persist/formats/files.js';
import { folder } from '../../plugins/persist/formats/folder.js';
import { modelSource, resolutionFor } from '../../presets/common/model-source.js';
import { type HubServer, hubServer } from '../support/hub-server.js';

const PIPELINE = fileURLToPath(new URL('../fixtures/pipelines/sd15', import.meta.url));
let home: string;
let server: HubServer;
beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'steploom-hub-model-'));
  const names = (await readdir(PIPELINE, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile());
  const files = names.map(async ({ name, parentPath }) => {
    const path = join(parentPath, name);
    return [path.slice(PIPELINE.length + 1), { content: await readFile(path), large: name.endsWith('.safetensors') }] as const;
  });
  server = await hubServer('tiny/sd15', Object.fromEntries(await Promise.all(files)));
  vi.stubEnv('HF_HOME', home);
  vi.stubEnv('HF_ENDPOINT', server.endpoint);
  vi.spyOn(console, 'error').mockImplementation(() => undefined);
});
afterEach(async () => {
  vi.unstubAllEnvs();
  vi.restoreAllMocks();
  await server.close();
  await rm(home, { recursive: true });
});

test('a model is named as on the hub; only the files that are needed are fetched', async () => {
  const o = { pretrainedModelNameOrPath: 'tiny/sd15', revision: 'main', clipSkip: 0, longCaptions: 'cut' } as const;
  expect(await resolutionFor(o)).toBe(await resolutionFor({ ...o, pretrainedModelNameOrPath: PIPELINE }));
  // For the size of its pictures no weights.
  expect(server.asked.filter((asked) => asked.startsWith('store'))).toEqual([]);
  const { from, ...options } = modelSource(o);
  const [fetched, own] = await Promise.all([readComponents(from as Files, options), readComponents(folder(PIPELINE))]);
  expect(fetched.where).toBe('tiny/sd15');
  const [name, stored] = [...(fetched.unet.tensors ?? [])][0];
  expect(await stored.read()).toEqual(await own.unet.tensors?.get(name)?.read());
  expect(vi.mocked(console.error).mock.calls.flat()).toContainEqual(expect.stringMatching(/^fetching tiny\/sd15\/unet\/.*MiB\)$/));
  const weights = server.asked.filter((asked) => asked.includes('/resolve/') && asked.endsWith('.safetensors'));
  expect(weights.map((path) => path.split('/').at(-2)).sort()).toEqual(['text_encoder', 'unet', 'vae']);
});

test('what is neither here nor there is said so', async () => {
  await expect(resolutionFor({ pretrainedModelNameOrPath: 'models/nowhere', clipSkip: 0, longCaptions: 'cut' })).rejects.toThrow(
    /HUB_MISSING.*there is no folder models\/nowhere here, and no model of that name on http:/,
  );
});
