import type { Tensor } from '@tensorflow/tfjs';
import {
  allToHost,
  type Collective,
  fail,
  fromHost,
  hashOf,
  hashOfText,
  type Model,
  type Snapshot,
  weightsOf,
} from '../../../core/index.js';
import { inMemory } from '../../persist/formats/files.js';
import { readSnapshot, writeSnapshot } from '../../persist/formats/snapshot-files.js';
import { together } from './values.js';

/** Rank 0's weights, on every rank; sent only if some rank has others. */
export async function shareWeights(collective: Collective, model: Model): Promise<void> {
  const weights = weightsOf(model);
  const digest = async () => {
    const host = await allToHost(weights);
    return hashOfText(
      Object.entries(host)
        .map(([path, { data }]) => `${path} ${hashOf(data)}`)
        .join('\n'),
    );
  };
  const differ = (all: readonly string[]) => all.findIndex((hash) => hash !== all[0]);
  if (differ(await collective.gather(await digest())) < 0) return;
  for (const [path, weight] of Object.entries(weights)) {
    const { data, ...facts } = (await allToHost({ weight })).weight;
    const bytes = await collective.broadcast(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    if (bytes.length !== data.byteLength)
      fail(
        'RANKS_DIFFER',
        'distributed',
        `${path} has ${data.byteLength} bytes here and ${bytes.length} on rank 0`,
        'Build the same model on every rank.',
      );
    if (collective.rank === 0) continue;
    const value = fromHost({ ...facts, data: new (data.constructor as Float32ArrayConstructor)(bytes.slice().buffer) });
    model.parameters.get(path)?.variable.assign(value as Tensor as never);
    value.dispose();
  }
  const other = differ(await collective.gather(await digest()));
  if (other > 0) together('RANKS_DIFFER', `rank ${other} has other parameters than rank 0`, 'Build the same model on every rank.');
}

/** Rank 0's snapshot, on every rank; no other reads a file. */
export async function shareSnapshot(collective: Collective, snapshot: Snapshot | null): Promise<Snapshot | null> {
  const contents = new Map<string, Uint8Array>();
  const files = inMemory(contents);
  if (snapshot) await writeSnapshot(files, snapshot);
  const names = JSON.parse((await collective.gather(JSON.stringify([...contents.keys()])))[0]) as string[];
  if (names.length === 0) return null;
  for (const name of names) contents.set(name, await collective.broadcast(contents.get(name) ?? null));
  return readSnapshot(files);
}
