import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import type { Snapshot, TensorData } from '../../../../core/index.js';
import { type Files, inMemory, writeParts } from '../../../../plugins/persist/formats/files.js';
import { writeSafetensors } from '../../../../plugins/persist/formats/safetensors.js';
import { readSnapshot, writeSnapshot } from '../../../../plugins/persist/formats/snapshot-files.js';

const tensor = (...values: number[]): TensorData => ({ dtype: 'float32', shape: [values.length], data: Float32Array.from(values) });
const snapshot: Snapshot = {
  version: 3,
  step: 4,
  seed: 1,
  metrics: { 'loss.held': 0.5 },
  data: { items: 3, batchSize: 1, windowLength: 1, worldSize: 1, content: 'x' },
  run: { learningRate: 1, weightDecay: 0, steps: 9, warmupSteps: 0, groups: {} },
  settings: { lora: { alpha: 4 } },
  parameters: { 'a.b': tensor(1, 2) },
  plugins: { adamw: { 'm/a.b': tensor(3, 4), count: 2 } },
};

/** Files of a snapshot whose tensors and rest are others, with checksums that fit. */
async function tampered(tensors: Record<string, TensorData>, change: (rest: Record<string, unknown>) => void = () => undefined) {
  const contents = new Map<string, Uint8Array>();
  const files = inMemory(contents);
  await writeSnapshot(files, snapshot);
  const rest = JSON.parse(new TextDecoder().decode(contents.get('state.json')));
  change(rest);
  contents.set('state.json', new TextEncoder().encode(JSON.stringify(rest)));
  contents.set('state.safetensors', writeSafetensors(tensors));
  const sums = Object.fromEntries(
    ['state.safetensors', 'state.json'].map((name) => [
      name,
      createHash('sha256')
        .update(contents.get(name) as Uint8Array)
        .digest('hex'),
    ]),
  );
  contents.set('checksums.json', new TextEncoder().encode(JSON.stringify(sums)));
  return files;
}

test('what is written is read', async () => {
  const files = inMemory();
  await writeSnapshot(files, snapshot);
  expect(await readSnapshot(files)).toEqual(snapshot);
});

test('files may be larger than what is read or written of them at a time', async () => {
  const megabytes = 2 ** 20;
  const most = 16 * megabytes;
  const large = (value: number): TensorData => ({
    dtype: 'float32',
    shape: [3 * megabytes],
    data: new Float32Array(3 * megabytes).fill(value),
  });
  const contents = new Map<string, Uint8Array>();
  const sizes: number[] = [];
  const limited = (size: number) => {
    sizes.push(size);
    if (size > most) throw new Error(`${size} bytes at once`);
  };
  const memory = inMemory(contents);
  const files: Files = {
    ...memory,
    async read(path) {
      const bytes = await memory.read(path);
      limited(bytes?.byteLength ?? 0);
      return bytes;
    },
    range(path, from, to) {
      limited(to - from);
      return memory.range(path, from, to);
    },
    async writeParts(path, parts) {
      async function* each() {
        for await (const part of parts) {
          limited(part.byteLength);
          yield part;
        }
      }
      await writeParts(memory, path, each());
    },
    write(path, content) {
      limited(content.length);
      return memory.write(path, content);
    },
  };
  const parameters = {
    a: large(1),
    b: large(2),
    c: large(3),
    'd.codes': { dtype: 'uint8', shape: [3], data: Uint8Array.of(1, 2, 3) },
  } as const;
  await writeSnapshot(files, { ...snapshot, parameters });
  expect(contents.get('state.safetensors')?.byteLength).toBeGreaterThan(2 * most);
  const read = await readSnapshot(files);
  expect(Object.keys(read.parameters)).toEqual(Object.keys(parameters));
  for (const [name, { dtype, shape, data }] of Object.entries(parameters)) {
    expect(read.parameters[name]).toMatchObject({ dtype, shape });
    expect(Buffer.compare(Buffer.from(read.parameters[name].data.buffer), Buffer.from(data.buffer)), name).toBe(0);
  }
  expect(read.plugins).toEqual(snapshot.plugins);
  expect(Math.max(...sizes)).toBe(most);
  // The checksum of a file that is read in pieces is that of the whole, and one bit of its last piece counts.
  const file = contents.get('state.safetensors') as Uint8Array;
  const sums = JSON.parse(new TextDecoder().decode(contents.get('checksums.json')));
  expect(sums['state.safetensors']).toBe(createHash('sha256').update(file).digest('hex'));
  file[file.length - 1] ^= 1;
  await expect(readSnapshot(files)).rejects.toThrow(/BAD_SNAPSHOT.*memory\/state\.safetensors is not what was written/);
});

describe('names from a file', () => {
  test('that mean something to JavaScript change nothing outside the snapshot', async () => {
    const before = { ...Object.getOwnPropertyDescriptors(Object.prototype), keys: Object.keys };
    const read = await readSnapshot(
      await tampered({
        'plugins/__proto__/polluted': tensor(1),
        'plugins/constructor/keys': tensor(2),
        'plugins/adamw/__proto__': tensor(3),
        'parameters/__proto__': tensor(4),
        'parameters/constructor': tensor(5),
      }),
    );
    expect({ ...Object.getOwnPropertyDescriptors(Object.prototype), keys: Object.keys }).toEqual(before);
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
    expect(Object.getPrototypeOf(read.parameters)).toBe(Object.prototype);
    expect(Object.keys(read.parameters)).toEqual(['__proto__', 'constructor']);
    expect(Object.keys(read.plugins)).toEqual(expect.arrayContaining(['adamw', '__proto__', 'constructor']));
  });

  test('that belong to nothing are an error', async () => {
    await expect(readSnapshot(await tampered({ 'other/x': tensor(1) }))).rejects.toThrow(
      /BAD_SNAPSHOT.*other\/x, which belongs to nothing/,
    );
  });
});

test.each([-5, 1e308, 1.5, '4', null])('a step of %s is refused', async (step) => {
  const files = await tampered({ 'parameters/a.b': tensor(1, 2) }, (rest) => {
    rest.step = step;
  });
  await expect(readSnapshot(files)).rejects.toThrow(/BAD_SNAPSHOT.*state\.json is no snapshot/);
});

test('numbers that JSON does not have come back as what they were', async () => {
  const files = inMemory();
  const metrics = { 'loss.held': Number.NaN, a: Number.POSITIVE_INFINITY, b: Number.NEGATIVE_INFINITY, c: 0.5 };
  const plugins = { summary: { records: [{ step: 1, loss: Number.NaN }], best: null, names: ['NaN', 'Infinity'] } };
  await writeSnapshot(files, { ...snapshot, metrics, plugins });
  const read = await readSnapshot(files);
  expect(read.metrics).toEqual(metrics);
  expect(read.plugins).toEqual(plugins);
});
