import {
  type Collective,
  type Host,
  isTensorData,
  OPTIMIZER,
  type Parameter,
  type PluginClass,
  type PluginFacts,
  type Snapshot,
  type State,
  type TensorData,
} from '../../../core/index.js';
import type { Tensor, Variable } from '../../../core/tf.js';
import * as tf from '../../../core/tf.js';
import type { Program } from '../../devices/compute/program.js';
import type { Reducer } from '../../devices/compute/reduction.js';
import { applyUpdate } from '../../devices/compute/update.js';
import { bytesOf, together, withBytes } from '../sharing/values.js';
import { ownersOf } from './owners.js';

/** Puts b in the place of a, where a is. */
const replaced: Program = { name: 'replaced', arrays: ['a', 'b'], writes: ['a'], factors: [], body: (x, { b }) => ({ a: x.mul(b, 1) }) };

const nameOf = (filling: object): string => {
  const { plugin } = filling.constructor as Partial<PluginClass>;
  return (plugin ?? (filling as PluginFacts)).name;
};

/**
 * An optimizer whose state ranks share out (ZeRO stage 1, Rajbhandari et al. 2020): each updates some of the trained tensors, whole, and keeps the state of these alone; after each
 * update every rank is given the others' weights.
 */
export class SharedOptimizer {
  private trained = new Map<string, Variable>();
  private owners = new Map<string, number>();

  constructor(
    private readonly host: Host,
    private readonly collective: Collective,
    /** Adds up weights, in full precision. */
    private readonly reducing: () => Reducer,
  ) {}

  /** Of all trained parameters those that this rank updates. */
  own(parameters: ReadonlyMap<string, Parameter>): Map<string, Parameter> {
    this.trained = new Map([...parameters].map(([path, { variable }]) => [path, variable]));
    this.owners = ownersOf(new Map([...this.trained].map(([path, { size }]) => [path, size])), this.collective.worldSize);
    return new Map([...parameters].filter(([path]) => this.isOwn(path)));
  }

  private isOwn(path: string): boolean {
    return this.owners.get(path) === this.collective.rank;
  }

  /** Gives every rank the weights that others have updated: sums of what one rank has and zeros, so that all have the same bits. */
  async share(): Promise<void> {
    const given = Object.fromEntries(
      [...this.trained].map(([path, variable]) => [path, this.isOwn(path) ? variable.mul<Tensor>(1) : tf.zeros(variable.shape)]),
    );
    const sums = await this.reducing().reduce(given, new Float32Array(1));
    applyUpdate(
      replaced,
      [...this.trained].map(([path, a]) => ({ a, b: sums[path] })),
    );
    tf.dispose(sums);
  }

  /** Rank 0's snapshot with the state of all ranks; null on the others. */
  async gathered(snapshot: Snapshot | null): Promise<Snapshot | null> {
    const { rank, gather, broadcast } = this.collective;
    const name = nameOf(this.host.resolve(OPTIMIZER));
    const own = snapshot?.plugins[name] ?? (await this.host.capture(OPTIMIZER));
    const facts = Object.entries(own).flatMap(([key, value]) =>
      isTensorData(value) ? [{ key, dtype: value.dtype, shape: value.shape }] : [],
    );
    const all = (await gather(JSON.stringify(facts))).map((text) => JSON.parse(text) as typeof facts);
    const whole: Record<string, State[string]> = { ...own };
    // What rank 0 has is what all have: counters.
    const known = new Set(all[0].map(({ key }) => key));
    for (const [from, theirs] of all.entries())
      for (const { key, dtype, shape } of theirs) {
        if (known.has(key)) continue;
        known.add(key);
        const bytes = await broadcast(rank === from ? bytesOf(own[key] as TensorData) : null, from);
        if (rank === 0) whole[key] = withBytes({ dtype, shape }, bytes);
      }
    return snapshot && { ...snapshot, plugins: { ...snapshot.plugins, [name]: whole } };
  }

  /** A snapshot with this rank's part of the state alone. SNAPSHOT_MISMATCH where it holds what no rank has. */
  async part(snapshot: Snapshot): Promise<Snapshot> {
    const name = nameOf(this.host.resolve(OPTIMIZER));
    const own = new Set(Object.keys(await this.host.capture(OPTIMIZER)));
    const all = new Set((await this.collective.gather(JSON.stringify([...own]))).flatMap((text) => JSON.parse(text) as string[]));
    const saved = Object.entries(snapshot.plugins[name] ?? {});
    const unexpected = saved.flatMap(([key]) => (all.has(key) ? [] : [key]));
    if (unexpected.length > 0)
      together(
        'SNAPSHOT_MISMATCH',
        `the saved state of ${name} does not fit: ${unexpected.slice(0, 8).join(', ')} ${unexpected.length === 1 ? 'is' : 'are'} unexpected`,
        'Resume with the model and plugins that wrote it.',
      );
    if (saved.length === 0) return snapshot;
    return { ...snapshot, plugins: { ...snapshot.plugins, [name]: Object.fromEntries(saved.filter(([key]) => own.has(key))) } };
  }
}
