import { engineInternals } from '../engine.js';

/** What is kept at a moment when a tensor was made, and that tensor, in bytes. */
interface Moment {
  readonly kept: number;
  readonly made: number;
}

/** Runs `fn` and notes each making of data: tf.memory() counts what two tensors share twice. */
export function momentsOf(fn: () => void): Moment[] {
  const engine = engineInternals();
  const { trackTensor, removeDataId } = engine;
  const { tensorInfo } = engine.state;
  const own = new Set<object>();
  const moments: Moment[] = [];
  let kept = 0;
  engine.trackTensor = (tensor, backend) => {
    const { dataId } = tensor as unknown as { dataId: object };
    const isNew = !tensorInfo.has(dataId);
    trackTensor.call(engine, tensor, backend);
    if (!isNew) return;
    own.add(dataId);
    const made = tensorInfo.get(dataId)?.bytes ?? 0;
    kept += made;
    moments.push({ kept, made });
  };
  engine.removeDataId = (id, backend) => {
    if (own.delete(id)) kept -= tensorInfo.get(id)?.bytes ?? 0;
    removeDataId.call(engine, id, backend);
  };
  try {
    fn();
  } finally {
    // They are the prototype's.
    Reflect.deleteProperty(engine, 'trackTensor');
    Reflect.deleteProperty(engine, 'removeDataId');
  }
  return moments;
}

/** What one microBatch of so many examples of a side takes, in bytes, beside what is there before: at its peak, and its largest tensor. */
export type Needs = (items: number, side: number) => { readonly peak: number; readonly largest: number };

/**
 * Every tensor of a pass has a size a + n (d + b p + c p^2), for n examples of p units of area (attention of all pixels to all pixels has the square). Four
 * trials give the four numbers, so that what a larger step needs is known exactly, whatever the model, its adapters and the device's operations.
 * Null where larger steps make other tensors than smaller ones.
 */
export function needsOf(trial: (items: number, side: number) => readonly Moment[], least: number): Needs | null {
  const [small, more, middle, large] = [trial(2, least), trial(3, least), trial(2, 2 * least), trial(2, 4 * least)];
  if ([more, middle, large].some(({ length }) => length !== small.length)) return null;
  const polynomials = (of: (moment: Moment) => number) =>
    small.map((moment, i) => {
      const each1 = of(more[i]) - of(moment);
      const a = of(moment) - 2 * each1;
      const [each4, each16] = [middle[i], large[i]].map((one) => (of(one) - a) / 2);
      const c = (each16 - each4 - 4 * (each4 - each1)) / 180;
      const b = (each4 - each1 - 15 * c) / 3;
      return { a, b, c, d: each1 - b - c };
    });
  const fits = [polynomials(({ kept }) => kept), polynomials(({ made }) => made)];
  return (items, side) => {
    const p = (side / least) ** 2;
    const [peak, largest] = fits.map((list) =>
      list.reduce((most, { a, b, c, d }) => Math.max(most, a + items * (d + b * p + c * p * p)), 0),
    );
    return { peak, largest };
  };
}
