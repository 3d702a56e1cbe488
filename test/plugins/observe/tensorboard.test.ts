import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Trainer } from '../../../core/index.js';
import { tensorboard } from '../../../plugins/observe/tensorboard.js';
import { checkpoint } from '../../../plugins/persist/checkpoint.js';
import { smallRun, stopAfter } from '../../support/small-run.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'steploom-'));
});
afterAll(() => rm(folder, { recursive: true }));

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

test('a new run’s events do not join another’s in one curve, and pictures that were there are not shown as its own', async () => {
  const into = join(folder, 'others');
  await mkdir(into);
  await writeFile(join(into, 'grid-50.png'), new Uint8Array(64));
  const run = (id: string) =>
    new Trainer(smallRun({ steps: 3 }).with(tensorboard(join(into, 'tensorboard'), { every: 1, pictures: into })), { runId: id }).train();
  await run('one');
  await run('two');
  const [own, others] = [await readdir(join(into, 'tensorboard')), await readdir(join(into, 'tensorboard-1'))];
  expect([own.length, others.length]).toEqual([1, 1]);
  expect([own[0].includes('.two.'), others[0].includes('.one.')]).toEqual([true, true]);
  const events = eventsOf(new Uint8Array(await readFile(join(into, 'tensorboard', own[0]))));
  expect(events.some(({ text }) => text.includes('| run | "two" |'))).toBe(true);
  expect(events.some(({ text }) => text.includes('samples'))).toBe(false);
});
