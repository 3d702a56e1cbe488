import { spawnSync } from 'node:child_process';
import { appendFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CLOCK, type Plugin, Trainer } from '../../core/index.js';
import { wasm } from '../../plugins/devices/wasm.js';
import { accumulation } from '../../plugins/gradients/accumulation.js';
import { nonFiniteGuard } from '../../plugins/gradients/non-finite-guard.js';
import { jsonl } from '../../plugins/observe/jsonl.js';
import { tensorboard } from '../../plugins/observe/tensorboard.js';
import { sgd } from '../../plugins/optimizers/sgd.js';
import { checkpoint } from '../../plugins/persist/checkpoint.js';
import { fromFloat16, toFloat16 } from '../../plugins/persist/formats/float16.js';
import { readSafetensors, writeSafetensors } from '../../plugins/persist/formats/safetensors.js';
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
    await expect(new Trainer(plugins('other', { resume: join(folder, 'other', 'checkpoint-2') })).train()).rejects.toThrow(
      /BAD_SNAPSHOT.*state\.json is not what was written/,
    );
    await expect(new Trainer(plugins('bad', { every: 0.5 })).train()).rejects.toThrow(/OPTION_INVALID.*every is 0.5/);
  });

  test('a torn one is passed over with a warning, and the one before it taken', async () => {
    const [whole, rest] = [weightsRecorder(), weightsRecorder()];
    await new Trainer(plugins('torn-whole', {}).with(whole.plugin)).train();
    await new Trainer(plugins('torn', { every: 2 }).with(stopAfter(5))).train();
    const file = join(folder, 'torn', 'checkpoint-4', 'state.safetensors');
    const bytes = await readFile(file);
    await writeFile(file, bytes.subarray(0, bytes.length - 7));
    const warnings: string[] = [];
    await new Trainer(plugins('torn', { resume: 'latest' }).with(rest.plugin), { warn: (text) => warnings.push(text) }).train();
    expect(warnings[0]).toMatch(/checkpoint-4 is passed over: .*state\.safetensors is not what was written/);
    expect(rest.steps).toEqual(whole.steps.slice(2));
  });

  test('mistake 12: exactly the newest K survive, the best as well, and folders that are not ours are left alone', async () => {
    const into = join(folder, 'limited');
    await mkdir(join(into, 'checkpoint-100'), { recursive: true });
    await writeFile(join(into, 'checkpoint-100', 'mine.txt'), 'a user’s');
    await mkdir(join(into, 'checkpoint-best'));
    const values = [5, 3, 4, 6, 2.5, 7, 8, 9, 9];
    const scores: Plugin = {
      name: 'scores',
      apply({ hooks }) {
        hooks.onRequest.tap('scores', (requests) => ({ ...requests, evaluate: 1 }));
        hooks.onEvaluate.tap('scores', (metrics, step) => ({ ...metrics, score: values[step] }));
      },
    };
    await new Trainer(plugins('limited', { every: 1, totalLimit: 2, best: { metric: 'score' } }).with(scores)).train();
    expect((await readdir(into)).sort()).toEqual([
      'best.json',
      'checkpoint-100',
      'checkpoint-5',
      'checkpoint-8',
      'checkpoint-9',
      'checkpoint-best',
    ]);
    expect(JSON.parse(await readFile(join(into, 'best.json'), 'utf8'))).toEqual({ step: 5, metric: 'score', value: 2.5 });
    expect(await readdir(join(into, 'checkpoint-100'))).toEqual(['mine.txt']);
  });

  test('on an interval of time', async () => {
    let now = 0;
    const clock: Plugin = { name: 'clock', fills: CLOCK, now: () => now };
    const ticks: Plugin = {
      name: 'ticks',
      apply: ({ hooks }) =>
        hooks.afterStep.tap('ticks', () => {
          now += 1000;
        }),
    };
    await new Trainer(plugins('timed', { everySeconds: 2.5 }).with(clock, ticks)).train();
    expect((await readdir(join(folder, 'timed'))).sort()).toEqual(['checkpoint-4', 'checkpoint-7']);
  });

  test('a stop inside a window saves the last step’s boundary at once, and the window is made again', async () => {
    const small = (name: string, more: object) =>
      smallRun({ steps: 5, items: 16, batchSize: 1 }).with(accumulation(8), checkpoint({ into: join(folder, name), atEnd: true, ...more }));
    const [whole, rest] = [weightsRecorder(), weightsRecorder()];
    await new Trainer(small('window-whole', {}).with(whole.plugin)).train();
    const asks: Plugin = {
      name: 'asks',
      apply: ({ hooks, request }) =>
        hooks.afterBackward.tap('asks', (sum, { step, index }) => {
          if (step === 3 && index === 2) request('stop');
          return sum;
        }),
    };
    const before = tf.memory().numTensors;
    const result = await new Trainer(small('window', {}).with(asks)).train();
    expect([result.step, result.stopped]).toEqual([3, true]);
    expect(tf.memory().numTensors).toBe(before);
    expect(await readdir(join(folder, 'window'))).toEqual(['checkpoint-3']);
    await new Trainer(small('window', { resume: 'latest' }).with(rest.plugin)).train();
    expect(rest.steps).toEqual(whole.steps.slice(3));
  });

  test('mistake 11: what a resumed run may change is applied and said; what it may not is refused unless overridden by name', async () => {
    await new Trainer(smallRun({ steps: 6 }).with(checkpoint({ into: join(folder, 'changed'), every: 2 }), stopAfter(4))).train();
    const again = (run: object, options: object = {}) => {
      const warnings: string[] = [];
      const recorder = weightsRecorder();
      const trained = new Trainer(
        smallRun({ steps: 6, ...run }).with(checkpoint({ into: join(folder, 'changed'), resume: 'latest', ...options }), recorder.plugin),
        { warn: (text) => warnings.push(text) },
      ).train();
      return trained.then((result) => ({ ...result, warnings, recorder }));
    };
    const faster = await again({ learningRate: 0.2, steps: 8 });
    expect(faster.warnings).toEqual(['resume: learningRate was 0.05, is 0.2 from here on', 'resume: steps was 6, is 8 from here on']);
    expect(faster.step).toBe(8);
    expect(faster.recorder.steps).not.toEqual((await again({ steps: 8 })).recorder.steps);
    await expect(again({ batchSize: 3, items: 14 })).rejects.toThrow(
      /SNAPSHOT_OTHER_RUN.*items was 12, is 14; batchSize was 4, is 3; content: the data set is another.*overrides/,
    );
    expect((await again({ batchSize: 3 }, { overrides: ['batchSize'] })).step).toBe(6);
    await expect(again({ batchSize: 3 }, { overrides: ['batch'] })).rejects.toThrow(/there is no batch to override/);
  });

  test('a full disk ends with an error that says so, the checkpoint before it intact', async () => {
    // A small file system of its own, where this process may mount one; otherwise a folder that cannot be written is as much as can be tried.
    const place = join(folder, 'full');
    await mkdir(place);
    const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', place]).status === 0;
    if (!mounted) return console.log('not tested here: a full disk (mount is not allowed)');
    try {
      await new Trainer(smallRun({ steps: 2 }).with(checkpoint({ into: place, every: 2 }))).train();
      await writeFile(join(place, 'ballast'), new Uint8Array(49_000));
      await expect(
        new Trainer(smallRun({ steps: 6 }).with(checkpoint({ into: place, every: 2, resume: 'latest' }))).train(),
      ).rejects.toThrow(/FILE_UNWRITABLE.*no space left on device/);
      expect((await readdir(place)).sort()).toEqual(['ballast', 'checkpoint-2']);
      await rm(join(place, 'ballast'));
      const result = await new Trainer(smallRun({ steps: 6 }).with(checkpoint({ into: place, every: 2, resume: 'latest' }))).train();
      expect(result.step).toBe(6);
    } finally {
      spawnSync('umount', [place]);
    }
  });
});

test('a log goes on over a resume without a doubled or lost line, and another run’s is kept', async () => {
  const into = join(folder, 'logged');
  const run = (more: object) =>
    smallRun({ steps: 9 }).with(jsonl(join(into, 'log.jsonl'), { every: 1 }), checkpoint({ into, every: 3, ...more }));
  const lines = async (name = 'log.jsonl') =>
    (await readFile(join(into, name), 'utf8'))
      .trim()
      .split('\n')
      .map((line) => (JSON.parse(line) as { step: number }).step);
  await new Trainer(run({}).with(stopAfter(5))).train();
  await appendFile(join(into, 'log.jsonl'), '{"step":6,"lo');
  await new Trainer(run({ resume: 'latest' })).train();
  expect(await lines()).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9]);
  await new Trainer(run({}).with(stopAfter(2))).train();
  expect(await lines()).toEqual([1, 2]);
  expect(await lines('log-1.jsonl')).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9]);
});

/** Records of an event file by TensorFlow's format alone: [step, what the event holds: field numbers]; checksums are held against the plain definition. */
function eventsOf(bytes: Uint8Array): { step: number; fields: number[]; text: string }[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const checksum = (part: Uint8Array) => {
    let c = 0xffffffff;
    for (const byte of part) {
      c ^= byte;
      for (let k = 0; k < 8; k++) c = c & 1 ? (c >>> 1) ^ 0x82f63b78 : c >>> 1;
    }
    c = ~c >>> 0;
    return (((c >>> 15) | (c << 17)) + 0xa282ead8) >>> 0;
  };
  const events: { step: number; fields: number[]; text: string }[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = Number(view.getBigUint64(at, true));
    const data = bytes.subarray(at + 12, at + 12 + length);
    expect(view.getUint32(at + 8, true)).toBe(checksum(bytes.subarray(at, at + 8)));
    expect(view.getUint32(at + 12 + length, true)).toBe(checksum(data));
    at += 16 + length;
    const fields: number[] = [];
    let step = 0;
    let p = 0;
    const varint = () => {
      let [value, scale] = [0, 1];
      for (;;) {
        if (p >= data.length) throw new Error('the event is cut');
        const byte = data[p++];
        value += (byte & 127) * scale;
        if (byte < 128) return value;
        scale *= 128;
      }
    };
    while (p < data.length) {
      const key = varint();
      fields.push(key >> 3);
      if ((key & 7) === 0) {
        const value = varint();
        if (key >> 3 === 2) step = value;
      } else if ((key & 7) === 1) p += 8;
      else {
        const size = varint();
        p += size;
      }
    }
    events.push({ step, fields, text: new TextDecoder('latin1').decode(data) });
  }
  return events;
}

test('TensorBoard’s events go on over a resume: what is made again is taken back first', async () => {
  const into = join(folder, 'events');
  const run = (more: object) =>
    smallRun({ steps: 5 }).with(
      tensorboard(join(into, 'tensorboard'), { every: 1, options: { seed: 3 } }),
      checkpoint({ into, every: 2, ...more }),
    );
  await new Trainer(run({}).with(stopAfter(3))).train();
  await new Trainer(run({ resume: 'latest' })).train();
  const names = (await readdir(join(into, 'tensorboard'))).sort((a, b) => Number(a.split('.').at(-1)) - Number(b.split('.').at(-1)));
  const [first, second] = await Promise.all(
    names.map(async (name) => eventsOf(new Uint8Array(await readFile(join(into, 'tensorboard', name))))),
  );
  // Fields of an event: 3 the file's version, 5 a summary, 7 a session that starts.
  const steps = (events: typeof first) =>
    events.filter(({ fields, text }) => fields.includes(5) && text.includes('loss')).map(({ step }) => step);
  expect(first[0].text).toContain('brain.Event:2');
  expect(steps(first)).toEqual([1, 2, 3]);
  expect(second.filter(({ fields }) => fields.includes(7)).map(({ step }) => step)).toEqual([3]);
  expect(steps(second)).toEqual([3, 4, 5]);
  expect(first.some(({ text }) => text.includes('| seed | 3 |'))).toBe(true);
});
