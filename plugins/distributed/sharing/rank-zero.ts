import {
  allToHost,
  type Collective,
  fail,
  fromHost,
  hashOf,
  hashOfText,
  type Model,
  type Snapshot,
  type TensorData,
  weightsOf,
} from '../../../core/index.js';
import type { Tensor } from '../../../core/tf.js';
import { joinSnapshot, splitSnapshot } from '../../persist/formats/snapshot-parts.js';
import { bytesOf, together, withBytes } from './values.js';

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
    const own = (await allToHost({ weight })).weight;
    const bytes = await collective.broadcast(bytesOf(own));
    if (bytes.length !== own.data.byteLength)
      fail(
        'RANKS_DIFFER',
        'distributed',
        `${path} has ${own.data.byteLength} bytes here and ${bytes.length} on rank 0`,
        'Build the same model on every rank.',
      );
    if (collective.rank === 0) continue;
    const value = fromHost(withBytes(own, bytes));
    model.parameters.get(path)?.variable.assign(value as Tensor as never);
    value.dispose();
  }
  const other = differ(await collective.gather(await digest()));
  if (other > 0) together('RANKS_DIFFER', `rank ${other} has other parameters than rank 0`, 'Build the same model on every rank.');
}

/** Rank 0's snapshot, on every rank, tensor by tensor; no other reads a file. */
export async function shareSnapshot(collective: Collective, snapshot: Snapshot | null): Promise<Snapshot | null> {
  const parts = collective.rank === 0 && snapshot ? splitSnapshot(snapshot) : null;
  const facts = parts && [...parts.tensors].map(([name, { dtype, shape }]) => ({ name, dtype, shape }));
  const all = JSON.parse((await collective.gather(JSON.stringify(facts)))[0]) as typeof facts;
  if (!all) return null;
  const rest = new TextDecoder().decode(await collective.broadcast(parts && new TextEncoder().encode(parts.rest)));
  const tensors = new Map<string, TensorData>();
  for (const { name, dtype, shape } of all) {
    const tensor = parts?.tensors.get(name);
    const bytes = await collective.broadcast(tensor ? bytesOf(tensor) : null);
    tensors.set(name, tensor ?? withBytes({ dtype, shape }, bytes));
  }
  const from = "rank 0's snapshot";
  return joinSnapshot(tensors, JSON.parse(rest), { rest: from, tensors: from });
}
