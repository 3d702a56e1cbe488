import { isCapturing, NotReplayable, whileCapturing } from './captured.js';
import { engineInternals, type TapeNode } from './engine.js';
import type { Context, Tensors, Wrap } from './model.js';
import { computedAgain, recordApart, withoutTape } from './recomputed.js';
import type { Tensor } from './tf.js';
import { dependent, reaches, releaseSaved, walkBack } from './walk-back.js';

/** A computation that is to be captured: it is called once, with tensors that have no values. */
export interface Capturable {
  forward(inputs: Tensor[]): Tensor;
  /** The gradients from that of the result; none where nothing is trained. */
  backward(dy: Tensor): Tensor[];
}

/** What was captured. All operations are on the device; what it gives is the caller's, and null where tensors are unlike those of the capture. */
export interface CapturedGraph {
  forward(inputs: readonly Tensor[], weights: Tensors): Tensor | null;
  /** After the forward pass, as long as no other graph of the capturer has run. */
  backward(dy: Tensor, weights: Tensors): Tensor[] | null;
  dispose(): void;
}

/** Captures graphs that share memory: one of them is under way at a time. */
export interface GraphCapturer {
  /** Throws NotReplayable where what is computed depends on more than shapes, inputs and weights, as far as the device can see. */
  capture(inputs: readonly Tensor[], weights: Tensors, what: Capturable): CapturedGraph;
}

/** The ids of what is trained by the way back of a tape. */
export const trainedOn = new WeakMap<readonly TapeNode[], ReadonlySet<number>>();

/** A graph, and what it has to do with the weights. */
interface Known {
  readonly graph: CapturedGraph;
  /** The weights on its tape, by path, and those of them that are trained; none where it has no way back. */
  readonly used: readonly string[];
  readonly trained: ReadonlySet<string>;
  /** Whose gradients it gives: an input's place, or a weight's path. */
  readonly targets: readonly (number | string)[];
}

/** So many graphs are kept of a part, for shapes and for passes with a way back and without. */
const KEPT = 32;

/**
 * A part of a model that is captured when it first meets inputs of some shapes and replayed whenever they come again, with the same results bit for bit.
 * What cannot be captured is computed as ever, and `refused` is told why, once.
 */
export class ReplayedPart {
  private readonly known = new Map<string, Known | null>();
  private readonly told = new Set<string>();
  /** Disposed when the pass that is under way has been walked back, or dropped. */
  private underWay: Tensor | null = null;

  constructor(
    private readonly capturer: GraphCapturer,
    private readonly refused: (why: string) => void,
  ) {}

  readonly wrap: Wrap = (context, inputs, compute) => {
    if (context.trial || isCapturing() || (this.underWay && !this.underWay.isDisposed)) return compute(inputs);
    const { activeTape, gradientDepth, kernelDepth } = engineInternals().state;
    const tape = activeTape && gradientDepth > 0 && kernelDepth === 0 ? activeTape : null;
    const trained = tape ? trainedOn.get(tape) : new Set<number>();
    // Somebody else's tape.
    if (!trained) return compute(inputs);
    const reached = new Set(trained);
    for (const node of tape ?? []) reaches(node, reached);
    // One that is given twice has one gradient.
    const given = [...new Set(inputs)];
    const { parameters } = context;
    const known = this.graphFor(context, inputs, given, compute, reached);
    const output = known && withoutTape(() => known.graph.forward(given, parameters));
    if (!output) return compute(inputs);
    const { graph, used, targets } = known;
    if (!tape || targets.length === 0) return output;
    const { kept, again } = computedAgain(inputs, compute);
    this.underWay = kept[0];
    const ids = targets.map((target) => (typeof target === 'number' ? given[target] : parameters[target]).id);
    tape.push({
      kernelName: 'Replayed',
      inputs: Object.fromEntries([...given, ...used.map((path) => parameters[path])].map((input) => [String(input.id), input])),
      outputs: [output],
      saved: kept,
      again,
      back(dy, wanted) {
        if (!wanted.every((id) => reached.has(id))) return null;
        const gradients = graph.backward(dy, parameters);
        return gradients && new Map(gradients.map((gradient, i) => [ids[i], gradient]));
      },
    });
    return output;
  };

  /** The graph for inputs like these; null where there can be none. */
  private graphFor(
    context: Context,
    inputs: Tensor[],
    given: Tensor[],
    compute: (inputs: Tensor[]) => Tensor,
    reached: ReadonlySet<number>,
  ): Known | null {
    const { known } = this;
    const kinds = given.map(({ id, shape, dtype }) => `${dtype} ${shape} ${reached.has(id)}`);
    const key = [context.mode, reached.size > 0, ...kinds, inputs.map((input) => given.indexOf(input))].join('|');
    const found = known.get(key);
    if (found === null) return null;
    known.delete(key);
    const isCurrent = found?.used.every((path) => found.trained.has(path) === reached.has(context.parameters[path].id));
    if (!isCurrent) found?.graph.dispose();
    const graph = found && isCurrent ? found : this.capture(context, inputs, given, compute, reached);
    known.set(key, graph);
    if (known.size > KEPT) {
      const [[oldest, dropped]] = known;
      known.delete(oldest);
      dropped?.graph.dispose();
    }
    return graph;
  }

  private capture(
    { parameters }: Context,
    inputs: Tensor[],
    given: Tensor[],
    compute: (inputs: Tensor[]) => Tensor,
    reached: ReadonlySet<number>,
  ): Known | null {
    const engine = engineInternals();
    const paths = new Map(Object.entries(parameters).map(([path, { id }]) => [id, path]));
    let tape: TapeNode[] = [];
    let used: string[] = [];
    const targets: (number | string)[] = [];
    engine.startScope('captured');
    try {
      if (given.some(({ id }) => paths.has(id))) throw new NotReplayable('it is given a weight');
      let standIns: Tensor[] = [];
      let result: Tensor;
      const graph = whileCapturing(() =>
        this.capturer.capture(given, parameters, {
          forward(all) {
            standIns = all;
            const once = () => compute(inputs.map((input) => standIns[given.indexOf(input)]));
            if (reached.size === 0) return (result = withoutTape(once));
            ({ result, tape } = recordApart(once));
            const ids = new Set(tape.flatMap((node) => Object.values(node.inputs).map(({ id }) => id)));
            used = [...ids].flatMap((id) => paths.get(id) ?? []);
            return result;
          },
          backward(dy) {
            const reachedHere = new Set(reached);
            for (const [i, { id }] of given.entries()) if (reached.has(id)) reachedHere.add(standIns[i].id);
            const path = dependent(tape, reachedHere);
            if (!reachedHere.has(result.id)) return [];
            const gradientOf = new Map([[result.id, dy]]);
            withoutTape(() => walkBack(path, gradientOf, reachedHere, result, () => undefined));
            const gradients: Tensor[] = [];
            const take = (id: number, target: number | string) => {
              const gradient = gradientOf.get(id);
              if (!gradient) return;
              targets.push(target);
              gradients.push(gradient);
            };
            for (const [i, { id }] of standIns.entries()) take(id, i);
            for (const name of used) take(parameters[name].id, name);
            return gradients;
          },
        }),
      );
      return { graph, used, trained: new Set(used.filter((path) => reached.has(parameters[path].id))), targets };
    } catch (error) {
      if (!(error instanceof NotReplayable)) throw error;
      if (!this.told.has(error.message)) this.refused(error.message);
      this.told.add(error.message);
      return null;
    } finally {
      for (const node of tape) releaseSaved(node);
      engine.endScope([]);
    }
  }

  dispose(): void {
    for (const one of this.known.values()) one?.graph.dispose();
    this.known.clear();
  }
}
