import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { type Plugin, Trainer } from '../../../core/index.js';
import { type PushToHubOptions, pushToHub } from '../../../plugins/persist/push-to-hub.js';
import { inThisProcess } from '../../support/command-line.js';
import { type HubServer, hubServer } from '../../support/hub-server.js';
import { smallRun } from '../../support/small-run.js';

let folder: string;
let server: HubServer;
beforeEach(async () => {
  folder = join(await mkdtemp(join(tmpdir(), 'steploom-push-')), 'sks dog');
  await mkdir(join(folder, 'averaged'), { recursive: true });
  server = await hubServer('a/b', {});
  vi.stubEnv('HF_HOME', folder);
  vi.stubEnv('HF_ENDPOINT', server.endpoint);
  vi.stubEnv('HF_TOKEN', 'of-another-kind');
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await server.close();
  await rm(join(folder, '..'), { recursive: true });
});

const adapter = Buffer.from(Uint8Array.from({ length: 5000 }, (_, i) => i % 251));
/** Stands for the plugin that writes adapters. */
const saving = (): Plugin => ({
  name: 'save-lora',
  apply: ({ hooks }) =>
    hooks.onEnd.tapPromise(async () => {
      await writeFile(join(folder, 'pytorch_lora_weights.safetensors'), adapter);
      await writeFile(join(folder, 'averaged', 'pytorch_lora_weights.safetensors'), 'the average');
      for (const name of ['grid-before.png', 'grid-2.png', 'grid-after.png']) await writeFile(join(folder, name), name);
    }),
});
/** Trains and sends; what is warned of. */
async function pushed(options: PushToHubOptions = {}, ...more: Plugin[]): Promise<string[]> {
  const warned: string[] = [];
  const composition = smallRun({ steps: 2 }).with(saving(), pushToHub(folder, { pause: async () => undefined, ...options }), ...more);
  await new Trainer(composition, { warn: (text) => warned.push(text) }).train();
  return warned;
}
const texts = (name: string) => Object.fromEntries([...(server.pushed.get(name) ?? [])].map(([path, content]) => [path, String(content)]));

test('adapters, pictures and a page are there when the run ends', async () => {
  const card = { baseModel: 'a/base', instancePrompt: 'a [sks] dog', prompts: ['a dog | cat'], training: { rank: 4 } };
  expect(await pushed({ repository: 'some-one/dogs', card })).toEqual([]);
  const { 'README.md': page, ...others } = texts('some-one/dogs');
  expect(others).toEqual({
    'pytorch_lora_weights.safetensors': String(adapter),
    'averaged/pytorch_lora_weights.safetensors': 'the average',
    'grid-before.png': 'grid-before.png',
    'grid-2.png': 'grid-2.png',
    'grid-after.png': 'grid-after.png',
  });
  expect(page).toBe(await readFile(join(folder, 'model-card.md'), 'utf8'));
  expect(page).toMatch(
    /^---\nbase_model: a\/base\ninstance_prompt: a \[sks\] dog\n[\s\S]*- lora\n[\s\S]*- text: a dog \| cat\n +output:\n +url: grid-after.png\n---\n\n# sks dog\n/,
  );
  expect(page).toContain('**a \\[sks\\] dog**');
  expect(page).toContain('![a dog \\| cat](./grid-after.png)\n\n![a dog \\| cat](./grid-2.png)\n\n![a dog \\| cat](./grid-before.png)');
  expect(page).toContain('from_pretrained("a/base")');
  expect(page).toContain('| rank | 4 |\n| steps | 2 |');
  expect(server.titles).toEqual(['Adapters after step 2']);
  // The token is the hub's alone, and what is there already is not sent again.
  expect(server.tokensOfStore.length).toBeGreaterThan(0);
  expect(new Set(server.tokensOfStore)).toEqual(new Set([undefined]));
  const sent = server.tokensOfStore.length;
  expect(await pushed({ repository: 'some-one/dogs', token: 'hf_other' })).toEqual([]);
  expect(server.tokensOfStore).toHaveLength(sent);
});

test('a name without an owner is one of the account’s', async () => {
  expect(await pushed({ repository: 'mine' })).toEqual([]);
  expect([...server.pushed.keys()]).toEqual(['some-one/mine']);
  expect(texts('some-one/mine')['README.md']).not.toMatch(/base_model|from_pretrained/);
});

test('a token that may not write is said before the first step', async () => {
  const steps = vi.fn();
  const counting = (): Plugin => ({ name: 'counting', apply: ({ hooks }) => hooks.afterStep.tap(() => steps()) });
  server.instead = (_, response) => Boolean(response.writeHead(403).end());
  await expect(pushed({ repository: 'a/b' }, counting())).rejects.toThrow(
    /HUB_REFUSED.*refuses a\/b \(403\), with the token that is set.*may write it/,
  );
  vi.stubEnv('HF_TOKEN', '');
  await expect(pushed({}, counting())).rejects.toThrow(/HUB_REFUSED.*nothing can be sent to the hub: there is no token.*HF_TOKEN/);
  vi.stubEnv('HF_HUB_OFFLINE', '1');
  await expect(pushed({ token: 'x' }, counting())).rejects.toThrow(/HUB_REFUSED.*HF_HUB_OFFLINE is set/);
  expect(steps).not.toHaveBeenCalled();
});

test('a hub that is away, or fails at the end, ends no run; the command that is named sends it later', async () => {
  server.instead = (_, response) => Boolean(response.writeHead(500).end());
  expect(await pushed({ repository: 'some-one/dogs' })).toEqual([
    expect.stringMatching(/HUB_FAILED.*answers 500 for some-one\/dogs, 5 times.*it is tried again when the run ends$/),
    expect.stringMatching(/HUB_FAILED.*Everything is kept in .*: steploom push '.*sks dog' --hub_model_id some-one\/dogs sends it later$/),
  ]);
  server.instead = () => false;
  server.insteadOfStore = (_, response) => Boolean(response.writeHead(400).end('full'));
  expect(await pushed({ repository: 'some-one/dogs' })).toEqual([expect.stringMatching(/HUB_FAILED.*answers 400.*sends it later/)]);
  expect(texts('some-one/dogs')).toEqual({});
  server.insteadOfStore = () => false;

  const said = await inThisProcess(folder, ['push', '.', '--hub_model_id', 'some-one/dogs']);
  expect([said.code, said.out]).toEqual([0, `sent 6 files to ${server.endpoint}/some-one/dogs\n`]);
  expect(texts('some-one/dogs')['README.md']).toBe(await readFile(join(folder, 'model-card.md'), 'utf8'));
  await rm(join(folder, 'model-card.md'));
  expect((await inThisProcess(folder, ['push', '.'])).code).toBe(0);
  expect(texts('some-one/sks-dog')['README.md']).toContain('# sks dog');
  expect((await inThisProcess(folder, ['push', 'averaged/none'])).err).toMatch(/FILE_MISSING.*averaged\/none has no adapters/);
});

test('a run that was stopped sends nothing', async () => {
  const stopping = (): Plugin => ({ name: 'stopping', apply: ({ hooks, request }) => hooks.afterStep.tap(() => request('stop')) });
  expect(await pushed({ repository: 'some-one/dogs' }, stopping())).toEqual([
    expect.stringMatching(/stopped: nothing is sent.*steploom push/),
  ]);
  expect(texts('some-one/dogs')).toEqual({});
});
