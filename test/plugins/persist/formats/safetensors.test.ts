import { mkdtemp, open, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { TensorData } from '../../../../core/index.js';
import { inMemory } from '../../../../plugins/persist/formats/files.js';
import { folder } from '../../../../plugins/persist/formats/folder.js';
import { openSafetensors, readSafetensors, writeSafetensors, writeSafetensorsTo } from '../../../../plugins/persist/formats/safetensors.js';

describe('safetensors', () => {
  const tensors = {
    b: { dtype: 'float32' as const, shape: [2, 2], data: new Float32Array([1, -2, 0.5, 1 / 3]) },
    a: { dtype: 'uint8' as const, shape: [3], data: new Uint8Array([1, 2, 255]) },
    c: { dtype: 'int32' as const, shape: [1], data: new Int32Array([-7]) },
  };
  test('a finite number that float16 cannot hold is refused, with its tensor', () => {
    const write = (value: number) =>
      writeSafetensors({ w: { dtype: 'float32', shape: [1], data: Float32Array.of(value) } }, { half: true });
    // Rounded to the largest float16, and up to infinity.
    expect(readSafetensors(write(65519)).tensors.get('w')?.data).toEqual(Float32Array.of(65504));
    expect(() => write(65520)).toThrow(/FLOAT16_OVERFLOW.*w holds 65520/);
    expect(() => write(-1e30)).toThrow('FLOAT16_OVERFLOW');
  });

  test('what is written is read', () => {
    const { tensors: back, metadata } = readSafetensors(writeSafetensors(tensors, { metadata: { format: 'pt', x: 'é' } }));
    expect(Object.fromEntries(back)).toEqual(tensors);
    expect(metadata).toEqual({ format: 'pt', x: 'é' });
    expect(readSafetensors(writeSafetensors(tensors, { half: true })).tensors.get('b')?.data[3]).toBeCloseTo(1 / 3, 3);
  });
  test('a Buffer within a larger one is read alike', () => {
    const bytes = writeSafetensors(tensors);
    const large = Buffer.alloc(bytes.length + 13);
    large.set(bytes, 13);
    expect(Object.fromEntries(readSafetensors(large.subarray(13)).tensors)).toEqual(tensors);
  });
  test.each([
    ['cut short', (b: Uint8Array) => b.subarray(0, b.length - 1), /spans bytes|belong to no tensor/],
    ['five bytes', (b: Uint8Array) => b.subarray(0, 5), /5 bytes are too few/],
    ['a header that is too long', (b: Uint8Array) => Uint8Array.from(b, (x, i) => (i === 4 ? 255 : x)), /its header claims/],
    ['a header that is no JSON', (b: Uint8Array) => Uint8Array.from(b, (x, i) => (i === 8 ? 33 : x)), /not JSON/],
  ])('%s is an error that names the file', (_, broken, message) => {
    expect(() => readSafetensors(broken(writeSafetensors(tensors)), 'x.safetensors')).toThrow(message);
    expect(() => readSafetensors(broken(writeSafetensors(tensors)), 'x.safetensors')).toThrow(/BAD_SAFETENSORS.*x\.safetensors/);
  });
  /** A file with this header and so many bytes behind it. */
  const fileOf = (header: string, size: number): Uint8Array => {
    const json = new TextEncoder().encode(header);
    const bytes = new Uint8Array(8 + json.length + size);
    new DataView(bytes.buffer).setBigUint64(0, BigInt(json.length), true);
    bytes.set(json, 8);
    return bytes;
  };
  const one = (name: string) => `"${name}":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}`;

  test.each([
    [
      'overlapping tensors',
      `{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}}`,
      6,
      /overlap or leave a gap/,
    ],
    ['a name that stands twice', `{${one('a.weight')}, ${one('a.\\u0077eight')}}`, 4, /has "a.weight" twice/],
    ['an entry’s key that stands twice', `{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4],"shape":[2,2]}}`, 4, /has "shape" twice/],
    ['metadata that is no text', `{"__metadata__":{"format":"pt","step":3},${one('a')}}`, 4, /metadata has 3 as step/],
    ['metadata that is a list', `{"__metadata__":["pt"],${one('a')}}`, 4, /metadata is not an object/],
    ['a number type that is not known', `{"a":{"dtype":"toString","shape":[4],"data_offsets":[0,4]}}`, 4, /data type "toString"/],
  ])('%s is refused, whole and in parts', async (_, header, size, message) => {
    const bytes = fileOf(header, size);
    expect(() => readSafetensors(bytes)).toThrow(message);
    await expect(openSafetensors(inMemory(new Map([['x', bytes]])), 'x')).rejects.toThrow(message);
  });

  test('braces, colons and quotes within names are no structure', async () => {
    const names = ['a":{', '}b', 'c\\', '{"d":"d"'];
    const file = writeSafetensors(Object.fromEntries(names.map((name) => [name, tensors.a])), { metadata: { '{': '}' } });
    expect([...readSafetensors(file).tensors.keys()].sort()).toEqual([...names].sort());
  });
});

describe('a safetensors file that is written in parts', () => {
  const data: Record<string, TensorData> = {
    b: { dtype: 'float32', shape: [2, 2], data: new Float32Array([1, -2, 0.5, 1 / 3]) },
    a: { dtype: 'float32', shape: [3], data: new Float32Array([4, 5, 6]) },
    empty: { dtype: 'float32', shape: [0, 2], data: new Float32Array(0) },
  };
  const entries = (tensors = data, onRead = (_: string): void => undefined) =>
    Object.entries(tensors).map(([name, tensor]) => ({
      name,
      shape: tensor.shape,
      read: async () => {
        onRead(name);
        return tensor;
      },
    }));

  test.each([false, true])('has the bytes of one that is written at once, whatever the place (half: %s)', async (half) => {
    const options = { half, metadata: { format: 'pt', x: 'y' } };
    const wanted = writeSafetensors(data, options);
    const memory = new Map<string, Uint8Array>();
    await writeSafetensorsTo(inMemory(memory), 'x', entries(), options);
    expect(memory.get('x')).toEqual(wanted);
    const path = await mkdtemp(join(tmpdir(), 'steploom-'));
    try {
      await writeSafetensorsTo(folder(path), 'deep/x', entries(), options);
      expect(await folder(path).read('deep/x')).toEqual(wanted);
      expect(await readdir(join(path, 'deep'))).toEqual(['x']);
      // What was there stays where a tensor cannot be written.
      const broken = { ...data, b: { ...data.b, data: Float32Array.of(1, 2, 3, 1e9) } } as typeof data;
      if (half)
        await expect(writeSafetensorsTo(folder(path), 'deep/x', entries(broken), options)).rejects.toThrow(/^FLOAT16_OVERFLOW.*b holds/);
      const other = { ...data, b: { ...data.b, data: Float32Array.of(1) } } as typeof data;
      await expect(writeSafetensorsTo(folder(path), 'deep/x', entries(other), options)).rejects.toThrow(/^WEIGHTS_MISMATCH.*b is/);
      expect(await folder(path).read('deep/x')).toEqual(wanted);
      expect(await readdir(join(path, 'deep'))).toEqual(['x']);
    } finally {
      await rm(path, { recursive: true });
    }
  });

  test('reads a tensor when the one before is written', async () => {
    const order: string[] = [];
    const files = {
      ...inMemory(),
      async writeParts(_: string, parts: AsyncIterable<Uint8Array>) {
        for await (const part of parts) order.push(`${part.byteLength} bytes`);
      },
    };
    await writeSafetensorsTo(
      files,
      'x',
      entries(data, (name) => order.push(name)),
    );
    expect(order.slice(1)).toEqual(['a', '12 bytes', 'b', '16 bytes', 'empty', '0 bytes']);
  });
});

describe('a safetensors file in parts', () => {
  test('gives what the whole one does', async () => {
    const file = writeSafetensors({
      b: { dtype: 'float32', shape: [2, 2], data: new Float32Array([1, -2, 0.5, 1 / 3]) },
      a: { dtype: 'uint8', shape: [3], data: new Uint8Array([1, 2, 255]) },
      empty: { dtype: 'int32', shape: [0], data: new Int32Array(0) },
    });
    const { tensors, metadata } = await openSafetensors(inMemory(new Map([['x', file]])), 'x');
    const whole = readSafetensors(file);
    expect(metadata).toEqual(whole.metadata);
    expect([...tensors.keys()]).toEqual([...whole.tensors.keys()]);
    for (const [name, stored] of tensors) {
      expect(stored).toMatchObject({ shape: whole.tensors.get(name)?.shape, where: 'memory/x' });
      expect(await stored.read()).toEqual(whole.tensors.get(name));
    }
    await expect(openSafetensors(inMemory(), 'x')).rejects.toThrow(/FILE_MISSING.*memory\/x/);
    await expect(openSafetensors(inMemory(new Map([['x', new Uint8Array(3)]])), 'x')).rejects.toThrow(/3 bytes are too few/);
  });

  test('may be longer than 4 GiB, and what changes meanwhile is noticed', async () => {
    const path = await mkdtemp(join(tmpdir(), 'steploom-'));
    try {
      const large = 2 ** 32 + 4;
      const header = JSON.stringify({
        large: { dtype: 'U8', shape: [large], data_offsets: [0, large] },
        last: { dtype: 'F32', shape: [2], data_offsets: [large, large + 8] },
      });
      const padded = header.padEnd(Math.ceil(header.length / 8) * 8);
      const file = await open(join(path, 'sparse.safetensors'), 'w');
      const first = Buffer.alloc(8);
      first.writeBigUInt64LE(BigInt(padded.length));
      await file.write(Buffer.concat([first, Buffer.from(padded)]), 0, undefined, 0);
      await file.write(Buffer.from(Float32Array.of(1.5, -2).buffer), 0, undefined, 8 + padded.length + large);
      const { tensors } = await openSafetensors(folder(path), 'sparse.safetensors');
      expect(await tensors.get('last')?.read()).toEqual({ dtype: 'float32', shape: [2], data: Float32Array.of(1.5, -2) });
      await file.truncate(8 + padded.length + large);
      await file.close();
      await expect(tensors.get('last')?.read()).rejects.toThrow(/FILE_UNREADABLE.*sparse.safetensors ends at byte/);
    } finally {
      await rm(path, { recursive: true });
    }
  });
});
