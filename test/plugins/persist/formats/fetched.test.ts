import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { fetched } from '../../../../plugins/persist/formats/fetched.js';
import { openSafetensors, writeSafetensors } from '../../../../plugins/persist/formats/safetensors.js';

const content = new TextEncoder().encode('0123456789');
const weights = writeSafetensors({
  a: { dtype: 'float32', shape: [2], data: Float32Array.of(1, 2) },
  b: { dtype: 'uint8', shape: [3], data: Uint8Array.of(7, 8, 9) },
});
const all: Record<string, Uint8Array> = { '/digits': content, '/empty': new Uint8Array(0), '/w.safetensors': weights };

let server: Server | undefined;
afterEach(() => server?.close());

/** A server that knows ranges, or does not, and the paths it was asked for. */
async function serving(ranges: boolean): Promise<{ base: string; asked: string[] }> {
  const asked: string[] = [];
  server = createServer((request, response) => {
    const file = all[request.url as string];
    asked.push(request.url as string);
    const [, from, to] = /bytes=(\d+)-(\d+)/.exec(request.headers.range ?? '')?.map(Number) ?? [];
    if (request.url === '/broken') response.writeHead(500).end();
    else if (!file) response.writeHead(404).end('no such file');
    else if (!ranges || from === undefined) response.end(file);
    else if (from >= file.length) response.writeHead(416, { 'Content-Range': `bytes */${file.length}` }).end();
    else {
      const last = Math.min(to, file.length - 1);
      response.writeHead(206, { 'Content-Range': `bytes ${from}-${last}/${file.length}` }).end(file.subarray(from, last + 1));
    }
  });
  await new Promise<void>((resolve) => server?.listen(0, '127.0.0.1', resolve));
  return { base: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`, asked };
}

test.each([true, false])('parts of files come over the network, of a server that knows ranges: %s', async (ranges) => {
  const { base } = await serving(ranges);
  const files = fetched(base);
  expect(await files.read('digits')).toEqual(content);
  expect(await files.read('none')).toBeNull();
  expect(await files.size('digits')).toBe(10);
  expect(await files.size('empty')).toBe(0);
  expect(await files.size('none')).toBeNull();
  expect(await files.range('digits', 3, 6)).toEqual(content.slice(3, 6));
  expect(await files.range('digits', 7, 7)).toEqual(new Uint8Array(0));
  expect(await files.range('digits', 9, 10)).toEqual(content.slice(9));
  await expect(files.range('digits', 8, 12)).rejects.toThrow(/FILE_UNREADABLE.*digits ends at byte 10/);
  await expect(files.range('none', 0, 1)).rejects.toThrow(/FILE_MISSING.*none/);
  await expect(files.size('broken')).rejects.toThrow(/FILE_UNREADABLE.*broken: the server answers 500/);
  await expect(files.write('digits', '')).rejects.toThrow(/FILE_UNWRITABLE/);
});

test('a whole file that was sent in place of a part serves the others too', async () => {
  const { base, asked } = await serving(false);
  const { tensors } = await openSafetensors(fetched(base), 'w.safetensors');
  expect((await tensors.get('a')?.read())?.data).toEqual(Float32Array.of(1, 2));
  expect((await tensors.get('b')?.read())?.data).toEqual(Uint8Array.of(7, 8, 9));
  expect(asked).toEqual(['/w.safetensors']);
});
