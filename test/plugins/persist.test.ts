import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Trainer } from '../../core/index.js';
import { wasm } from '../../plugins/devices/wasm.js';
import { accumulation } from '../../plugins/gradients/accumulation.js';
import { nonFiniteGuard } from '../../plugins/gradients/non-finite-guard.js';
import { sgd } from '../../plugins/optimizers/sgd.js';
import { checkpoint } from '../../plugins/persist/checkpoint.js';
import { fromFloat16, toFloat16 } from '../../plugins/persist/float16.js';
import { readSafetensors, writeSafetensors } from '../../plugins/persist/safetensors.js';
import { ema } from '../../plugins/weights/ema.js';
import { smallRun, stopAfter, weightsRecorder } from '../support/small-run.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'steploom-'));
});
afterAll(() => rm(folder, { recursive: true }));

test('float16 rounds to the nearest half, ties to even, both ways', () => {
  const cases: [number, number][] = [
    [0, 0],
    [1, 0x3c00],
    [-2, 0xc000],
    [65504, 0x7bff],
    [65520, 0x7c00],
    [1e9, 0x7c00],
    [Number.NEGATIVE_INFINITY, 0xfc00],
    [2 ** -14, 0x0400],
    [2 ** -24, 0x0001],
    [2 ** -25, 0x0000],
    [1.5 * 2 ** -25, 0x0001],
    [1 + 2 ** -11, 0x3c00],
    [1 + 3 * 2 ** -11, 0x3c02],
  ];
  expect([...toFloat16(cases.map(([x]) => x))]).toEqual(cases.map(([, h]) => h));
  const all = Uint16Array.from({ length: 65536 }, (_, i) => i).filter((h) => (h & 0x7c00) !== 0x7c00 || (h & 0x3ff) === 0);
  expect(toFloat16(fromFloat16(all))).toEqual(all);
  expect(Number.isNaN(fromFloat16(toFloat16([Number.NaN]))[0])).toBe(true);
});

describe('safetensors', () => {
  const tensors = {
    b: { dtype: 'float32' as const, shape: [2, 2], data: new Float32Array([1, -2, 0.5, 1 / 3]) },
    a: { dtype: 'uint8' as const, shape: [3], data: new Uint8Array([1, 2, 255]) },
    c: { dtype: 'int32' as const, shape: [1], data: new Int32Array([-7]) },
  };
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
  test('overlapping tensors are refused', () => {
    const header = JSON.stringify({
      a: { dtype: 'U8', shape: [4], data_offsets: [0, 4] },
      b: { dtype: 'U8', shape: [4], data_offsets: [2, 6] },
    });
    const bytes = new Uint8Array(8 + header.length + 6);
    new DataView(bytes.buffer).setBigUint64(0, BigInt(header.length), true);
    bytes.set(new TextEncoder().encode(header), 8);
    expect(() => readSafetensors(bytes)).toThrow(/overlap or leave a gap/);
  });
});

describe('checkpoint', () => {
  const plugins = (name: string, more: object, device?: ReturnType<typeof wasm>) =>
    smallRun({ epochs: 3, items: 11, batchSize: 2, ...(device ? { device: device as never } : {}) }).with(
      accumulation(2),
      nonFiniteGuard(),
      ema({ decay: 0.8 }),
      checkpoint({ into: join(folder, name), ...more }),
    );

  for (const threads of [0, 1])
    test(`resume from a folder is bitwise on ${threads ? 'wasm' : 'cpu'}, mid-epoch`, async () => {
      const device = () => (threads ? wasm({ threads: 2 }) : undefined);
      const name = `bitwise-${threads}`;
      const whole = weightsRecorder();
      await new Trainer(plugins(`${name}-whole`, {}, device()).with(whole.plugin)).train();
      await new Trainer(plugins(name, { every: 2 }, device()).with(stopAfter(5))).train();
      expect((await readdir(join(folder, name))).sort()).toEqual(['checkpoint-2', 'checkpoint-4']);
      const rest = weightsRecorder();
      await new Trainer(plugins(name, { resume: 'latest' }, device()).with(rest.plugin)).train();
      expect(rest.steps).toEqual(whole.steps.slice(4));
    });

  test('a stop saves where the run ends, if asked', async () => {
    await new Trainer(plugins('end', { atEnd: true }).with(stopAfter(3))).train();
    expect(await readdir(join(folder, 'end'))).toEqual(['checkpoint-3']);
  });

  test('faults are named', async () => {
    await expect(new Trainer(plugins('none', { resume: join(folder, 'absent') })).train()).rejects.toThrow(/FILE_MISSING.*absent/);
    await new Trainer(plugins('other', { every: 2 }).with(stopAfter(2))).train();
    await expect(new Trainer(plugins('other', { resume: 'latest' }).with(sgd())).train()).rejects.toThrow(
      /SNAPSHOT_MISMATCH.*adamw is saved but not in this run/,
    );
    await writeFile(join(folder, 'other', 'checkpoint-2', 'state.json'), '{');
    await expect(new Trainer(plugins('other', { resume: 'latest' })).train()).rejects.toThrow(/BAD_JSON.*state\.json/);
    await expect(new Trainer(plugins('bad', { every: 0.5 })).train()).rejects.toThrow(/OPTION_INVALID.*every is 0.5/);
  });
});
