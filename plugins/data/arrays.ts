import {
  type Batch,
  DATA,
  type Host,
  hashOf,
  hashOfText,
  type Problems,
  RANDOM,
  type Random,
  type Source,
  type TensorData,
} from '../../core/index.js';
import * as tf from '../../core/tf.js';
import { epochOrder } from './order/epoch-order.js';

export interface ArraysOptions {
  readonly batchSize: number;
  /** Columns of text, one entry an example: `{ text: captions }`, say. */
  readonly strings?: Readonly<Record<string, readonly string[]>>;
  /** A new order each epoch; on by default. */
  readonly shuffle?: boolean;
  /** Leave out what does not fill a batch at an epoch's end; off by default. */
  readonly dropLast?: boolean;
}

/** Data in memory: arrays whose first axis counts examples, by name, and columns of text beside them. */
export const arrays = (columns: Readonly<Record<string, TensorData>>, options: ArraysOptions) => {
  const { batchSize, shuffle = true, dropLast = false, strings = {} } = options;
  let random: Random;
  return {
    name: 'arrays',
    fills: DATA,
    apply(host: Host) {
      random = host.resolve(RANDOM);
      host.hooks.validate.tap((problems) => {
        check(problems);
      });
    },
    async open(): Promise<Source> {
      const total = Object.values(columns)[0].shape[0];
      const items = dropLast ? Math.floor(total / batchSize) * batchSize : total;
      return {
        items,
        batchSize,
        strings,
        shapes: Object.fromEntries(Object.entries(columns).map(([name, { shape }]) => [name, shape.slice(1)])),
        ids: (epoch) => epochOrder(random, total, epoch, shuffle),
        fingerprint: () => {
          const shapes = Object.entries(columns).map(([name, { dtype, shape }]) => `${name} ${dtype} [${shape}]`);
          return `${hashOfText(`${shapes} ${Object.values(strings).map((column) => column.join('\n'))} ${shuffle}`)}${hashOf(...Object.values(columns).map(({ data }) => data))}`;
        },
        async load(ids, { epoch }): Promise<Batch> {
          const tensors = Object.fromEntries(Object.entries(columns).map(([name, column]) => [name, rowsOf(column, ids)]));
          const texts = Object.entries(strings).map(([name, column]) => [name, ids.map((id) => column[id])]);
          return { items: ids.length, ids, epoch, tensors, strings: Object.fromEntries(texts) };
        },
      };
    },
  };

  function check(problems: Problems): void {
    const bad = (what: string, fix: string) => problems.add('DATA_INVALID', 'arrays', what, fix);
    problems.options('arrays').whole('batchSize', batchSize, 1);
    const counts = [
      ...Object.entries(columns).map(([name, { shape }]) => [name, shape[0]] as const),
      ...Object.entries(strings).map(([name, { length }]) => [name, length] as const),
    ];
    if (Object.keys(columns).length === 0) bad('there are no columns', 'Give at least one array.');
    if (new Set(counts.map(([, n]) => n)).size > 1)
      bad(`the columns differ in length: ${counts.map(([name, n]) => `${name} ${n}`).join(', ')}`, 'Give one row an example everywhere.');
    for (const [name, { shape, data }] of Object.entries(columns))
      if (shape.reduce((a, b) => a * b, 1) !== data.length)
        bad(`${name} has ${data.length} values for the shape [${shape}]`, 'Give as many as the shape holds.');
  }
};

function rowsOf({ dtype, shape, data }: TensorData, ids: readonly number[]): tf.Tensor {
  const size = shape.slice(1).reduce((a, b) => a * b, 1);
  const out = new (data.constructor as Float32ArrayConstructor)(ids.length * size);
  for (const [i, id] of ids.entries()) out.set(data.subarray(id * size, (id + 1) * size) as Float32Array, i * size);
  return tf.tensor(out, [ids.length, ...shape.slice(1)], dtype === 'float32' ? 'float32' : 'int32');
}
