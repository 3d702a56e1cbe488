import { fail } from '../../../core/index.js';
import { cutShort, type Files, missing } from './files.js';

/**
 * Files below an address, read with fetch; for browsers. Parts of a file come by HTTP Range. Of a server that knows no ranges, and sends the whole
 * file each time, the last one is kept until its end has been read.
 */
export function fetched(base: string): Files {
  const where = base.replace(/\/$/, '');
  const unreadable = (path: string, what: string): never =>
    fail('FILE_UNREADABLE', 'files', `${where}/${path}: the server answers ${what}`, 'Check the address.');
  let kept: { readonly path: string; readonly bytes: Uint8Array } | null = null;

  async function ask(path: string, range?: string): Promise<Response | null> {
    const response = await fetch(`${where}/${path}`, range ? { headers: { Range: `bytes=${range}` } } : undefined);
    // 416: the range lies behind the end.
    if (!response.ok && response.status !== 404 && response.status !== 416) unreadable(path, String(response.status));
    if (response.status !== 404) return response;
    await response.body?.cancel();
    return null;
  }

  return {
    where,
    async read(path) {
      const response = await ask(path);
      return response && new Uint8Array(await response.arrayBuffer());
    },
    async size(path) {
      const response = await ask(path, '0-0');
      if (!response) return null;
      if (response.status === 200) {
        kept = { path, bytes: new Uint8Array(await response.arrayBuffer()) };
        return kept.bytes.byteLength;
      }
      await response.body?.cancel();
      const [, total] = /\/(\d+)$/.exec(response.headers.get('Content-Range') ?? '') ?? unreadable(path, 'a range without the file’s size');
      return Number(total);
    },
    async range(path, from, to) {
      if (from === to) return new Uint8Array(0);
      let whole = kept?.path === path ? kept.bytes : null;
      if (!whole) {
        const response = (await ask(path, `${from}-${to - 1}`)) ?? missing({ where }, path);
        const bytes = new Uint8Array(await response.arrayBuffer());
        if (response.status === 206) return bytes.byteLength === to - from ? bytes : cutShort({ where }, path, from + bytes.byteLength, to);
        if (response.status !== 200) return unreadable(path, String(response.status));
        whole = bytes;
      }
      kept = to < whole.byteLength ? { path, bytes: whole } : null;
      return to <= whole.byteLength ? whole.slice(from, to) : cutShort({ where }, path, whole.byteLength, to);
    },
    write: async (path) =>
      fail('FILE_UNWRITABLE', 'files', `${where}/${path} cannot be written over the network`, 'Use folder() or inMemory().'),
  };
}
