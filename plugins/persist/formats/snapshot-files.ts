import { createHash } from 'node:crypto';
import { fail, type Snapshot, type TensorData } from '../../../core/index.js';
import { type Files, missing, readJson, writeParts } from './files.js';
import { openSafetensors, writeSafetensorsTo } from './safetensors.js';
import { joinSnapshot, splitSnapshot, WHOLE } from './snapshot-parts.js';

const TENSORS = 'state.safetensors';
/** Everything but its tensors. */
export const STATE_FILE = 'state.json';
/** Written last: a folder without it is none of ours, or was never finished. */
export const CHECKSUMS = 'checksums.json';

/** So much of a file is read at a time for its checksum: files may be larger than memory's largest piece. */
const PIECE = 2 ** 24;

/**
 * Writes a snapshot as three files: its tensors, the rest as JSON, and the SHA-256 of both. The files may be of any size; beside the snapshot, no more than
 * a tensor's bytes are held. Needs Node.
 */
export async function writeSnapshot(files: Files, snapshot: Snapshot): Promise<void> {
  const { tensors, rest } = splitSnapshot(snapshot);
  const sums: Record<string, string> = {};
  /** The parts as they come, and the checksum of all when the last has gone. */
  async function* summed(path: string, parts: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    const hash = createHash('sha256');
    for await (const part of parts) {
      hash.update(part);
      yield part;
    }
    sums[path] = hash.digest('hex');
  }
  const summing: Files = { ...files, writeParts: (path, parts) => writeParts(files, path, summed(path, parts)) };
  const toWrite = [...tensors].map(([name, tensor]) => ({ name, dtype: tensor.dtype, shape: tensor.shape, read: async () => tensor }));
  await writeSafetensorsTo(summing, TENSORS, toWrite);
  sums[STATE_FILE] = createHash('sha256').update(rest).digest('hex');
  await files.write(STATE_FILE, rest);
  await files.write(CHECKSUMS, `${JSON.stringify(sums, null, 2)}\n`);
}

/**
 * Reads a snapshot back. A file that is missing, cut or changed is an error that names it. The files may be of any size; beside the snapshot, no more than
 * a tensor's bytes are held. Needs Node.
 */
export async function readSnapshot(files: Files): Promise<Snapshot> {
  const where = { rest: `${files.where}/${STATE_FILE}`, tensors: `${files.where}/${TENSORS}` };
  const sums = await readJson(files, CHECKSUMS);
  for (const name of [TENSORS, STATE_FILE])
    if ((await sumOf(files, name)) !== sums[name])
      fail('BAD_SNAPSHOT', 'checkpoint', `${files.where}/${name} is not what was written: its checksum differs`, WHOLE);
  const tensors = new Map<string, TensorData>();
  for (const [name, { read }] of (await openSafetensors(files, TENSORS)).tensors) tensors.set(name, await read());
  return joinSnapshot(tensors, await readJson(files, STATE_FILE), where);
}

/** The SHA-256 of a file, read piece by piece. */
async function sumOf(files: Files, path: string): Promise<string> {
  const size = (await files.size(path)) ?? missing(files, path);
  const hash = createHash('sha256');
  for (let at = 0; at < size; at += PIECE) hash.update(await files.range(path, at, Math.min(size, at + PIECE)));
  return hash.digest('hex');
}
