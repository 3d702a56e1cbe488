import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { appendFile, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { type IncomingHttpHeaders, request } from 'node:http';
import { connect } from 'node:net';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Plugin, Trainer } from '../../../core/index.js';
import { runsBelow } from '../../../plugins/observe/page/runs.js';
import { serveRuns } from '../../../plugins/observe/page/server.js';
import { ui } from '../../../plugins/observe/ui.js';
import { writeGrid } from '../../../plugins/persist/formats/pictures.js';
import { memoryStore, smallRun } from '../../support/small-run.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'steploom-'));
  for (const [name, scale] of [
    ['first', 1],
    ['second', 2],
  ] as const) {
    await mkdir(join(folder, name));
    const lines = Array.from({ length: 20 }, (_, i) =>
      JSON.stringify({ step: i + 1, loss: scale / (i + 1), learningRate: 0.1, seconds: i }),
    );
    await writeFile(join(folder, name, 'log.jsonl'), `${lines.join('\n')}\n{"step":21,"lo`);
  }
  await writeGrid(join(folder, 'first', 'grid-after.png'), [new Float32Array(12).fill(0.5)], { height: 2, width: 2 }, 1);
  await writeFile(join(folder, 'secret.txt'), 'not for everyone');
  await symlink(join(folder, 'secret.txt'), join(folder, 'first', 'grid-link.png'));
});
afterAll(() => rm(folder, { recursive: true }));

/** A request as anyone could send it: the path is not tidied, and headers are free. */
const asked = (
  address: string,
  path: string,
  { method = 'GET', headers = {} }: { method?: string; headers?: Record<string, string> } = {},
) =>
  new Promise<{ code?: number; body: string; headers: IncomingHttpHeaders }>((resolve, reject) => {
    const { hostname, port, searchParams } = new URL(address);
    // With the address's token, where the path has none of its own.
    const whole = /[?&]token=/.test(path) ? path : `${path}${path.includes('?') ? '&' : '?'}token=${searchParams.get('token')}`;
    const sent = request({ hostname, port, path: whole, method, headers }, (response) => {
      let body = '';
      response.on('data', (text) => (body += text));
      response.on('end', () => resolve({ code: response.statusCode, body, headers: response.headers }));
    });
    sent.once('error', reject);
    sent.end();
  });

describe('the page’s server', () => {
  test('gives runs, only what is new, and no file but their pictures', async () => {
    const { address, close } = await serveRuns({ runs: runsBelow(folder) });
    try {
      const views = JSON.parse((await asked(address, '/data')).body) as {
        name: string;
        records: unknown[];
        pictures: { name: string }[];
      }[];
      expect(views.map(({ name, records }) => [name, records.length])).toEqual([
        ['first', 20],
        ['second', 20],
      ]);
      expect(views[0].pictures.map(({ name }) => name)).toEqual(['grid-after.png']);
      const since = encodeURIComponent(JSON.stringify({ first: [0, 18], second: [0, 20] }));
      expect(JSON.parse((await asked(address, `/data?since=${since}`)).body).map((v: { records: unknown[] }) => v.records.length)).toEqual([
        2, 0,
      ]);
      expect((await asked(address, '/picture?run=first&name=grid-after.png')).code).toBe(200);
      for (const path of [
        '/secret.txt',
        '/../secret.txt',
        '/picture?run=..&name=secret.txt',
        '/picture?run=first&name=../secret.txt',
        '/picture?run=first&name=..%2Fsecret.txt',
        '/picture?run=first&name=grid-link.png',
        '/picture?run=first&name=log.jsonl',
        '/picture?run=%2Fetc&name=passwd',
      ]) {
        const { code, body } = await asked(address, path);
        expect([path, code]).toEqual([path, 404]);
        expect(body).not.toContain('not for everyone');
      }
      expect((await asked(address, '/data?since=%5B%7Bx')).code).toBe(200);
      expect((await asked(address, '/data', { headers: { host: 'evil.example' } })).code).toBe(403);
      expect((await asked(address, '/stop', { method: 'POST' })).code).toBe(403);
      expect((await asked(address, '/', { method: 'PUT' })).code).toBe(405);
    } finally {
      await close();
    }
  });

  test.each(['0.0.0.0', '127.0.0.1'])('asks for a token on %s', async (host) => {
    const { address, close } = await serveRuns({ host, runs: runsBelow(folder) });
    try {
      const token = new URL(address).searchParams.get('token');
      expect(token).toMatch(/^[0-9a-f]{32}$/);
      for (const wrong of ['?token=', `?token=${'0'.repeat(32)}`, `?token=${token}0`])
        expect((await asked(address, `/data${wrong}`)).code).toBe(403);
      expect((await asked(address, `/data?token=${token}`)).code).toBe(200);
    } finally {
      await close();
    }
  });

  test('after the first visit the token is in a cookie that no script sees, and no longer in the address', async () => {
    const { address, close } = await serveRuns({ runs: runsBelow(folder) });
    try {
      const { port, searchParams } = new URL(address);
      const token = searchParams.get('token');
      const first = await asked(address, '/');
      expect([first.code, first.headers.location]).toEqual([303, './']);
      const [set] = first.headers['set-cookie'] as string[];
      expect(set).toBe(`steploom-${port}=${token}; HttpOnly; SameSite=Strict; Path=/`);
      // What a browser sends from then on.
      const bare = (path: string, cookie: string) =>
        fetch(`http://127.0.0.1:${port}${path}`, { headers: { cookie }, redirect: 'manual' }).then(({ status }) => status);
      const [cookie] = set.split(';');
      for (const path of ['/', '/data', '/picture?run=first&name=grid-after.png']) expect(await bare(path, cookie)).toBe(200);
      expect(await bare('/', `theme=dark; ${cookie}`)).toBe(200);
      for (const other of ['', `steploom-1=${token}`, `steploom-${port}=${'0'.repeat(32)}`, `x${cookie}`, 'steploom'])
        expect(await bare('/data', other)).toBe(403);
      // Along a redirect that another site's link began a strict cookie is not sent: that browser is led on by a page.
      const foreign = await asked(address, '/', { headers: { 'sec-fetch-site': 'cross-site' } });
      expect([foreign.code, foreign.headers['set-cookie']]).toEqual([200, [set]]);
      expect(foreign.body).toContain('content="0;url=./"');
      expect(foreign.body).not.toContain(token);
    } finally {
      await close();
    }
  });

  test('is shown in no other page’s frame, and answers no more than there is time for', async () => {
    let looks = 0;
    const { address, close } = await serveRuns({
      runs: async () => {
        looks++;
        return [];
      },
    });
    try {
      const { headers } = await asked(address, '/');
      expect(headers['content-security-policy']).toContain("frame-ancestors 'none'");
      expect(headers['x-frame-options']).toBe('DENY');
      // 50 who ask again as soon as they are answered, for two seconds: who has no token, and who has it.
      const loops = async (path: string) => {
        const codes = new Map<number | undefined, number>();
        const end = performance.now() + 2000;
        const loop = async () => {
          while (performance.now() < end) {
            const { code } = await asked(address, path);
            codes.set(code, (codes.get(code) ?? 0) + 1);
          }
        };
        await Promise.all(Array.from({ length: 50 }, loop));
        return codes;
      };
      const strangers = await loops('/data?token=guess');
      expect(strangers.get(403)).toBeLessThan(60);
      // Each is told so after a second.
      expect(strangers.get(429)).toBeLessThanOrEqual(150);
      // They take nothing of what the owner has.
      expect((await asked(address, '/data')).code).toBe(200);
      const owners = await loops('/data');
      expect(owners.get(200)).toBeGreaterThan(100);
      expect(looks).toBeLessThan(180);
      expect(owners.get(429)).toBeLessThanOrEqual(150);
    } finally {
      await close();
    }
  });

  test('connections that say nothing are few, and soon closed', async () => {
    const { address, close } = await serveRuns({ runs: runsBelow(folder) });
    const { hostname, port } = new URL(address);
    const idle = Array.from({ length: 200 }, () => connect(Number(port), hostname).resume());
    const closed = idle.map((socket) => new Promise((done) => socket.on('error', () => undefined).once('close', done)));
    // Beyond 64 they are closed at once, the others after five seconds.
    await Promise.all(closed);
    expect((await asked(address, '/data')).code).toBe(200);
    await close();
  }, 20_000);

  test('a log of any kind and length shows its run, and leaves the others alone', async () => {
    const runs = await mkdtemp(join(tmpdir(), 'steploom-logs-'));
    const write = async (name: string, text: string) => {
      await mkdir(join(runs, name));
      await writeFile(join(runs, name, 'log.jsonl'), text);
    };
    await write('good', '{"step":1,"loss":2}\n');
    await write('nulls', 'null\n[1]\n7\n"x"\n{"step":3,"loss":1}\nno json\n');
    await write('one-line', 'x'.repeat(3 << 20));
    await write('long', Array.from({ length: 130_000 }, (_, i) => `{"step":${i + 1},"loss":${1 / (i + 1)}}\n`).join(''));
    const look = runsBelow(runs);
    const views = Object.fromEntries((await look()).map((view) => [view.name, view]));
    expect(Object.keys(views)).toEqual(['good', 'long', 'nulls', 'one-line']);
    expect([views.good.records, views.nulls.records, views['one-line'].records]).toEqual([
      [{ step: 1, loss: 2 }],
      [{ step: 3, loss: 1 }],
      [],
    ]);
    const steps = views.long.records.map(({ step }) => Number(step));
    expect(steps.length).toBeLessThanOrEqual(4000);
    expect(steps.length).toBeGreaterThan(1900);
    expect([steps[0], steps.every((step, i) => i === 0 || step > steps[i - 1]), (steps.at(-1) as number) > 129_000]).toEqual([
      1,
      true,
      true,
    ]);
    // What comes later is read from where the last look ended; a log that was begun anew is read anew.
    await appendFile(join(runs, 'good', 'log.jsonl'), '{"step":2,"loss":1}\n{"step":3,"lo');
    expect((await look())[0].records.map(({ step }) => step)).toEqual([1, 2]);
    await appendFile(join(runs, 'good', 'log.jsonl'), 'ss":0.5}\n');
    expect((await look())[0].records.map(({ step }) => step)).toEqual([1, 2, 3]);
    await writeFile(join(runs, 'good', 'log.jsonl'), '{"step":9,"loss":1}\n');
    expect((await look())[0].records.map(({ step }) => step)).toEqual([9]);
    await rm(runs, { recursive: true });
  });

  test('says of each run how long it is to be, and whether it goes on, is done, was stopped, has failed or has died', async () => {
    const runs = await mkdtemp(join(tmpdir(), 'steploom-states-'));
    const dead = spawnSync(process.execPath, ['--version']).pid;
    const put = async (name: string, facts: object | null, pid?: number) => {
      await mkdir(join(runs, name));
      await writeFile(join(runs, name, 'log.jsonl'), '{"step":1,"loss":2}\n');
      if (facts) await writeFile(join(runs, name, 'run.json'), JSON.stringify({ id: name, steps: 9, stepsPerEpoch: 3, ...facts }));
      if (pid) await writeFile(join(runs, name, 'run.lock'), JSON.stringify({ pid, host: hostname() }));
    };
    await put('a', {}, process.pid);
    await put('b', { outcome: 'done' });
    await put('c', { outcome: 'stopped' });
    await put('d', { outcome: 'failed', error: 'no room' });
    await put('e', {}, dead);
    await put('f', {});
    // A log of some other plugin's, or what is none of ours.
    await put('g', null);
    await put('h', { steps: 'many', outcome: 7, error: {} }, process.pid);
    // Runs that wrote neither length nor ending.
    await put('i', { steps: undefined });
    await put('j', { steps: undefined }, dead);
    const views = await runsBelow(runs)();
    expect(views.map(({ state, error, steps }) => [state, error, steps])).toEqual([
      ['running', undefined, 9],
      ['done', undefined, 9],
      ['stopped', undefined, 9],
      ['failed', 'no room', 9],
      ['died', undefined, 9],
      ['died', undefined, 9],
      [undefined, undefined, undefined],
      ['running', undefined, undefined],
      [undefined, undefined, undefined],
      ['died', undefined, undefined],
    ]);
    expect(views[0].stepsPerEpoch).toBe(3);
    await rm(runs, { recursive: true });
  });

  test('two pages that ask at once are given each record once', async () => {
    const look = runsBelow(folder);
    const both = await Promise.all([look(), look(), look()]);
    const steps = Array.from({ length: 20 }, (_, i) => i + 1);
    for (const views of [...both, await look()])
      expect(views.map(({ name, records }) => [name, records.map(({ step }) => step)])).toEqual([
        ['first', steps],
        ['second', steps],
      ]);
  });

  test('a port that is taken is an error with a name', async () => {
    const { address, close } = await serveRuns({ runs: runsBelow(folder) });
    await expect(serveRuns({ port: Number(new URL(address).port), runs: runsBelow(folder) })).rejects.toThrow(
      /PORT_UNAVAILABLE.*EADDRINUSE/,
    );
    await close();
  });
});

test('the page of a resumed run has the part before, and goes on in steps and seconds', async () => {
  const output = await mkdtemp(join(tmpdir(), 'steploom-page-'));
  const line = (step: number, run: string) => `${JSON.stringify({ step, loss: 1 / step, seconds: 10 * step, run })}\n`;
  // As it was left: with steps after the checkpoint, and those of another run.
  await writeFile(join(output, 'log.jsonl'), line(1, 'other') + line(1, 'same') + line(2, 'same') + line(3, 'same'));
  const first = memoryStore(2);
  await new Trainer(smallRun({ steps: 2 }).with(first.plugin), { runId: 'same' }).train();
  let records: { step: number; seconds: number }[] = [];
  let address = '';
  const look: Plugin = {
    name: 'look',
    apply: ({ hooks }) =>
      hooks.onEnd.tapPromise(async () => {
        [{ records }] = JSON.parse((await asked(address, '/data')).body);
      }),
  };
  const page = ui({
    every: 1,
    folder: output,
    say: (text) => {
      address = text.slice(text.indexOf('http'));
    },
  });
  const store = memoryStore(100, { ...first.snapshots[0], runId: 'same' });
  await new Trainer(smallRun({ steps: 4 }).with(store.plugin, page, look)).train();
  expect(records.map(({ step }) => step)).toEqual([1, 2, 3, 4]);
  expect(records[1].seconds).toBe(20);
  expect(records[2].seconds).toBeGreaterThanOrEqual(20);
  expect(records[2].seconds).toBeLessThan(30);
  await rm(output, { recursive: true });
});

const found = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find((path) => existsSync(path));
if (!found) console.log('not tested here: the live page (no Chromium was found)');

describe.runIf(found)('the page in headless Chromium', () => {
  const inBrowser = async (address: string, look: (tab: import('playwright-core').Page) => Promise<void>) => {
    const browser = await chromium.launch({ executablePath: found as string, args: ['--no-sandbox'] });
    try {
      const tab = await browser.newPage();
      const errors: string[] = [];
      tab.on('pageerror', (error) => errors.push(error.message));
      tab.on('console', (message) => message.type() === 'error' && errors.push(message.text()));
      await tab.goto(address);
      await look(tab);
      // The browser's own wish for an icon is not the page's.
      // Nor is it the page's that nobody answers any more.
      expect(errors.filter((text) => !/favicon|404|ERR_CONNECTION_REFUSED/.test(text))).toEqual([]);
    } finally {
      await browser.close();
    }
  };

  /** Kept where somebody wants to look at them. */
  const shot = async (tab: import('playwright-core').Page, name: string) => {
    const place = process.env.STEPLOOM_TEST_SCREENSHOTS;
    if (place) await tab.screenshot({ path: join(place, `${name}.png`), fullPage: true });
  };

  test('shows a run while it trains, and its button stops it after the step', async () => {
    let address = '';
    const slow: Plugin = {
      name: 'slow',
      apply: ({ hooks }) =>
        hooks.onSync.tapPromise('slow', async (sum) => {
          await new Promise((done) => setTimeout(done, 5));
          return sum;
        }),
    };
    let heard: () => void;
    const ready = new Promise<void>((resolve) => {
      heard = resolve;
    });
    const page = ui({
      every: 1,
      folder: join(folder, 'first'),
      say: (text) => {
        address = text.slice(text.indexOf('http'));
        heard();
      },
    });
    const trainer = new Trainer(smallRun({ steps: 100_000 }).with(page, slow));
    page.describe((await trainer.explain()).text);
    const training = trainer.train();
    await ready;
    await inBrowser(address, async (tab) => {
      for (const chart of ['loss', 'learningRate', 'steps a second'])
        await tab.waitForSelector(`figure[data-chart="${chart}"] canvas`, { state: 'attached' });
      // It is over two seconds in which a speed is measured.
      await expect
        .poll(() => tab.textContent('section'), { timeout: 15_000 })
        .toMatch(/step \d+ of 100000, \d+ s elapsed, .* left, \d+ MiB resident/);
      expect(await tab.textContent('details:has-text("plan") pre')).toContain('onSync');
      // Asked from outside: waiting inside the page takes eval, which its policy forbids.
      await expect.poll(() => tab.evaluate('document.querySelector("img").naturalWidth')).toBeGreaterThan(0);
      await tab.click('button:has-text("Stop after this step")');
      const result = await training;
      expect(result.stopped).toBe(true);
      expect(result.step).toBeLessThan(100_000);
      // The run has gone, and its server with it: the page says so, and shows what it had.
      await tab.waitForSelector('#state:has-text("The run is over.")');
      expect(await tab.textContent('section')).toMatch(/stopped/);
      expect(await tab.isVisible('button:has-text("Stop after this step")')).toBe(false);
      expect(await tab.locator('figure[data-chart="loss"] canvas').count()).toBe(1);
      expect(await tab.evaluate('document.querySelector("img").naturalWidth')).toBeGreaterThan(0);
      await shot(tab, 'over');
    });
  });

  test('says that it loads, that there is no run yet, and that nobody answers any more', async () => {
    let answer: (() => void) | undefined;
    const first = new Promise<void>((resolve) => {
      answer = resolve;
    });
    const { address, close } = await serveRuns({ runs: () => first.then(() => []) });
    await inBrowser(address, async (tab) => {
      expect(await tab.isVisible('#loading')).toBe(true);
      answer?.();
      await tab.waitForSelector('#none');
      expect(await tab.isVisible('#loading')).toBe(false);
      await close();
      await tab.waitForSelector('#state:has-text("Nobody answers here.")');
    });
  });

  test('a pause is no spike of speed, and times are told in minutes', async () => {
    const runs = await mkdtemp(join(tmpdir(), 'steploom-pause-'));
    await mkdir(join(runs, 'paused'));
    // Five steps a second, a minute's pause, and ten records that come at once when it is over.
    const time = (step: number) => (step <= 100 ? step / 5 : step <= 110 ? 80 + step / 1e4 : 80 + (step - 110) / 5);
    const lines = Array.from({ length: 200 }, (_, i) => `${JSON.stringify({ step: i + 1, loss: 1, seconds: time(i + 1) })}\n`);
    await writeFile(join(runs, 'paused', 'log.jsonl'), lines.join(''));
    const { address, close } = await serveRuns({ runs: runsBelow(runs) });
    await inBrowser(address, async (tab) => {
      await tab.waitForSelector('section[data-run="paused"]');
      const most = Number(/most (.*)$/.exec((await tab.textContent('figure[data-chart="steps a second"] figcaption')) ?? '')?.[1]);
      expect(most).toBeLessThan(12);
      expect(most).toBeGreaterThanOrEqual(5);
      await tab.selectOption('#x', 'time');
      const slider = tab.getByRole('slider', { name: 'loss', exact: true });
      await slider.press('End');
      expect(await slider.getAttribute('aria-valuetext')).toBe('1 min 38 s: paused 1');
    });
    await close();
    await rm(runs, { recursive: true });
  });

  test('shows several runs side by side, and hides those that are not wanted', async () => {
    const picture = sharp({ create: { width: 64, height: 64, channels: 3, background: 'red' } }).png();
    for (const name of ['grid-before', 'grid-100', 'grid-20', 'grid-after'])
      await picture.clone().toFile(join(folder, 'first', `${name}.png`));
    await picture.clone().toFile(join(folder, 'second', 'grid-after.png'));
    const tell = (name: string, facts: object) =>
      writeFile(join(folder, name, 'run.json'), JSON.stringify({ id: name, steps: 30, ...facts }));
    const told = { seed: 3, outputDir: 'x', validationPrompt: ['a red cat', 'a dog'] };
    for (const [name, options] of Object.entries({
      first: { ...told, learningRate: 0.1, rank: 4 },
      second: { ...told, outputDir: 'y', learningRate: 0.2 },
    }))
      await tell(name, { options, ...(name === 'second' ? { prompts: ['a ghost', 'a hook'] } : {}) });
    await writeFile(join(folder, 'first', 'run.lock'), JSON.stringify({ pid: process.pid, host: hostname() }));
    // What a run that was killed leaves: its hold on the folder, of a process that is no more.
    const { pid } = spawnSync(process.execPath, ['--version']);
    await writeFile(join(folder, 'second', 'run.lock'), JSON.stringify({ pid, host: hostname() }));
    const { address, close } = await serveRuns({ runs: runsBelow(folder) });
    try {
      await inBrowser(address, async (tab) => {
        await tab.waitForSelector('section[data-run="second"]');
        /** What the loss's legend says: names, and values under the pointer. */
        const legend = async (part: 'label' | 'value') =>
          (await tab.locator(`figure[data-chart="loss"] .u-series:visible .u-${part}`).allInnerTexts()).map((text) => text.trim());
        const shown = () => legend('label');
        expect(await shown()).toEqual(['step', 'first', 'second']);
        expect(await tab.textContent('figure[data-chart="loss"] figcaption')).toContain('first: now 0.05, least 0.05, most 1');
        // The values under the pointer, in every chart at once.
        await tab.hover('figure[data-chart="loss"] .u-over', { position: { x: 2, y: 50 } });
        expect(await legend('value')).toEqual(['1', '1', '2']);
        // By the keyboard, too, for who does not see the charts: each is a slider that reads its values out.
        const slider = tab.getByRole('slider', { name: 'loss', exact: true });
        await slider.focus();
        const read = async (key: string) => {
          await tab.keyboard.press(key);
          return slider.getAttribute('aria-valuetext');
        };
        expect(await read('Home')).toBe('step 1: first 1, second 2');
        expect(await read('ArrowRight')).toBe('step 2: first 0.5, second 1');
        expect(await read('End')).toBe('step 20: first 0.05, second 0.1');
        expect(await tab.locator('figure[data-chart="learningRate"] .u-value').allInnerTexts()).toEqual(['20', '0.1', '0.1']);
        const reach = () => tab.evaluate('[...charts.values()].map(({ plot: { scales: { x } } }) => x.max - x.min)');
        const whole = await reach();
        await tab.keyboard.press('+');
        expect(await reach()).toEqual([9.5, 9.5, 9.5]);
        expect(await tab.isEnabled('#whole')).toBe(true);
        await tab.keyboard.press('Escape');
        expect(await reach()).toEqual(whole);
        expect(await tab.isEnabled('#whole')).toBe(false);
        await tab.fill('#smoothing', '0.9');
        await tab.check('#log');
        await tab.selectOption('#x', 'time');
        expect(await shown()).toEqual(['time', 'first', 'second']);
        await tab.hover('figure[data-chart="learningRate"] .u-over', { position: { x: 200, y: 50 } });
        // Each run has a row: what it was asked to do where they differ, that it is over, and its box.
        expect(await tab.locator('#table tr:first-child th').allInnerTexts()).toEqual([
          'run',
          'state',
          'step',
          'loss',
          'least held out',
          'time',
          'left',
          'learningRate',
          'rank',
        ]);
        const rows = await tab.locator('#table tr:not(:first-child)').allInnerTexts();
        expect(rows.map((row) => row.split('\t').map((cell) => cell.trim()))).toEqual([
          // A step a second, of 30.
          ['first', 'running', '20', '0.05', '', '19 s', '10 s', '0.1', '4'],
          ['second', 'died', '20', '0.1', '', '19 s', '', '0.2', ''],
        ]);
        expect(await tab.textContent('section[data-run="first"] .facts')).toMatch(/^running step 20 of 30, 19 s elapsed, 10 s left, /);
        expect(await tab.textContent('section[data-run="second"] .facts')).toMatch(/^died step 20 of 30, 19 s elapsed, last written /);
        // They look different, in the table and below, and a change is read out.
        const looks = () =>
          tab.evaluate(
            "[...document.querySelectorAll('.badge')].map((badge) => getComputedStyle(badge).color + getComputedStyle(badge, '::before').content)",
          );
        const [running, died] = (await looks()) as string[];
        expect(await looks()).toEqual([running, died, running, died]);
        expect(running).not.toBe(died);
        await tell('first', { options: { ...told, learningRate: 0.1, rank: 4 }, outcome: 'failed', error: 'there is no room' });
        await tab.waitForSelector('#table .badge[data-state="failed"]');
        expect(await tab.textContent('#said')).toBe('first: failed');
        expect(await tab.textContent('section[data-run="first"] .facts')).toMatch(/^failed step 20 of 30, 19 s elapsed, last written /);
        expect(await tab.textContent('section[data-run="first"] .fault')).toBe('there is no room');
        expect(await tab.locator('section[data-run="first"] details:has-text("Options") pre').textContent()).toContain('seed: 3');
        // The pictures of a run are one, with a slider over their steps, and what is drawn in them.
        const gallery = tab.locator('section[data-run="first"] .gallery');
        expect(await gallery.locator('figcaption').textContent()).toBe('grid-after.png');
        await gallery.locator('input').fill('1');
        expect(await gallery.locator('figcaption').textContent()).toBe('grid-20.png, after step 20');
        expect(await gallery.locator('.prompts').textContent()).toBe('a red cat | a dog');
        expect(await tab.locator('section[data-run="second"] .gallery .prompts').textContent()).toBe('a ghost | a hook');
        await gallery.locator('img').click();
        await tab.waitForSelector('dialog img');
        await shot(tab, 'enlarged');
        await tab.keyboard.press('Escape');
        expect(await tab.isVisible('dialog img')).toBe(false);
        await gallery.locator('button').press('Enter');
        await tab.waitForSelector('dialog img');
        expect(await tab.textContent('dialog p')).toBe('first: grid-20.png, after step 20: a red cat | a dog');
        // From picture to picture, and no further than the last.
        for (const told of ['grid-100.png, after step 100', 'grid-after.png', 'grid-after.png']) {
          await tab.keyboard.press('ArrowRight');
          expect(await tab.textContent('dialog p')).toBe(`first: ${told}: a red cat | a dog`);
        }
        await tab.click('dialog img');
        await shot(tab, 'two-runs');
        // Zoomed by drawing over a part, and back.
        const chart = tab.locator('figure[data-chart="loss"] .u-over');
        await chart.scrollIntoViewIfNeeded();
        const over = await chart.boundingBox();
        if (!over) throw new Error('there is no chart');
        await tab.mouse.move(over.x + 50, over.y + 40);
        await tab.mouse.down();
        await tab.mouse.move(over.x + 150, over.y + 40, { steps: 4 });
        await tab.mouse.up();
        expect(await tab.isEnabled('#whole')).toBe(true);
        await tab.click('#whole');
        expect(await tab.isEnabled('#whole')).toBe(false);
        await tab.mouse.move(over.x + 50, over.y + 40);
        await tab.mouse.down();
        await tab.mouse.move(over.x + 150, over.y + 40, { steps: 4 });
        await tab.mouse.up();
        await tab.mouse.dblclick(over.x + 100, over.y + 40);
        expect(await tab.isEnabled('#whole')).toBe(false);
        await tab.emulateMedia({ colorScheme: 'dark' });
        await tab.setViewportSize({ width: 390, height: 800 });
        await expect.poll(() => tab.evaluate('document.documentElement.scrollWidth')).toBeLessThanOrEqual(390);
        await shot(tab, 'dark-phone');
        await tab.click('label:has-text("first") input');
        expect(await shown()).toEqual(['time', 'second']);
        expect(await tab.locator('section:visible').count()).toBe(1);
      });
    } finally {
      await close();
    }
  });
});
