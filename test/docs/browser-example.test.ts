import { existsSync } from 'node:fs';
import { cp, mkdir, mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import { build, preview } from 'vite';
import { expect, test } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const found = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find((path) => existsSync(path));
if (!found) console.log('not tested here: the example in a browser (no Chromium was found)');

test.runIf(found)(
  'the example of docs/examples/browser is built by Vite, and trains on each device of a page',
  async () => {
    const folder = await mkdtemp(join(tmpdir(), 'steploom-browser-'));
    try {
      await cp(join(root, 'docs', 'examples', 'browser'), folder, { recursive: true });
      await mkdir(join(folder, 'node_modules'));
      // As though they were installed there.
      await symlink(root, join(folder, 'node_modules', 'steploom'));
      await symlink(join(root, 'node_modules', '@tensorflow'), join(folder, 'node_modules', '@tensorflow'));
      const config = { root: folder, logLevel: 'error', configFile: join(folder, 'vite.config.js') } as const;
      await build({ ...config, build: { minify: false } });
      const server = await preview({ ...config, preview: { port: 0, host: '127.0.0.1' } });
      const browser = await chromium.launch({ executablePath: found as string, args: ['--no-sandbox'] });
      try {
        const page = await browser.newPage();
        const faults: string[] = [];
        page.on('pageerror', (error) => faults.push(String(error)));
        await page.goto(server.resolvedUrls?.local[0] as string);
        // Without a GPU `auto` takes wasm.
        for (const [name, used] of [
          ['auto', /webgpu|wasm/],
          ['wasm', /wasm/],
          ['cpu', /cpu/],
        ] as const) {
          await page.reload();
          await page.selectOption('#device', name);
          await page.click('#train');
          await page.waitForFunction(() => /done|Error/.test(document.getElementById('state')?.textContent ?? ''), null, {
            timeout: 60_000,
          });
          const state = (await page.textContent('#state')) as string;
          const [, device, right] = /^done: 200 steps on (\w+), (\S+) % right$/.exec(state) ?? [state];
          expect(device, state).toMatch(used);
          expect(Number(right)).toBeGreaterThan(80);
        }
        expect(faults).toEqual([]);
      } finally {
        await browser.close();
        await server.close();
      }
    } finally {
      await rm(folder, { recursive: true });
    }
  },
  120_000,
);
