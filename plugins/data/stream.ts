import { type Batch, DATA, fail, type Host, type Source } from '../../core/index.js';
import type { Tensor, TensorLike } from '../../core/tf.js';
import * as tf from '../../core/tf.js';

/** What a stream yields: columns by name. `xs` and `ys`, as tf.data has them, are x and y. */
export type StreamElement = Readonly<Record<string, Tensor | TensorLike | number>>;

export interface StreamOptions {
  readonly batchSize: number;
  /** Examples of an epoch. Without it the first pass counts them before training. */
  readonly items?: number;
  /** Elements are batches: their first axis counts examples. */
  readonly batched?: boolean;
}

/** One example's column on the host. */
interface Row {
  readonly dtype: 'float32' | 'int32';
  readonly shape: number[];
  readonly data: Float32Array | Int32Array;
}

/** An async iterable, or a tf.data.Dataset. */
export type StreamSource = AsyncIterable<StreamElement> | { iterator(): Promise<{ next(): Promise<IteratorResult<StreamElement>> }> };

/**
 * Examples from a tf.data.Dataset or an async iterable, in the order they come; `make` starts an epoch. A resumed run draws the
 * epoch's examples again up to where it was, so the order must be the same each time the epoch is started (seed shuffles).
 */
export const stream = (make: (epoch: number) => StreamSource, { batchSize, items, batched = false }: StreamOptions) => ({
  name: 'stream',
  fills: DATA,
  apply: ({ hooks }: Host) =>
    hooks.validate.tap((problems) => {
      const check = problems.options('stream');
      check.whole('batchSize', batchSize, 1);
      if (items !== undefined) check.whole('items', items, 1, 'or leave it out: the first pass then counts them');
    }),
  async open(): Promise<Source> {
    let count = items ?? 0;
    if (items === undefined) for await (const _ of examples(make(0), batched)) count++;
    let position = 0;
    let current: { epoch: number; rows: AsyncIterator<Record<string, Row>> } | null = null;
    return {
      items: count,
      batchSize,
      ids: () => Int32Array.from({ length: count }, (_, i) => i),
      async load(ids, { epoch }): Promise<Batch> {
        if (current?.epoch !== epoch || position > ids[0]) {
          await current?.rows.return?.();
          current = { epoch, rows: examples(make(epoch), batched)[Symbol.asyncIterator]() };
          position = 0;
        }
        const rows: Record<string, Row>[] = [];
        while (rows.length < ids.length) {
          const { value, done } = await current.rows.next();
          if (done)
            fail(
              'DATA_INVALID',
              'stream',
              `epoch ${epoch} ended after ${position} examples, ${count} were expected`,
              'Give the number of examples as items.',
            );
          if (position++ >= ids[0]) rows.push(value);
        }
        return { items: rows.length, ids, epoch, tensors: stacked(rows) };
      },
      dispose: async () => void (await current?.rows.return?.()),
    };
  },
});

const RENAMED: Readonly<Record<string, string>> = { xs: 'x', ys: 'y' };

async function* iterate(from: StreamSource): AsyncGenerator<StreamElement> {
  if (Symbol.asyncIterator in from) {
    yield* from;
    return;
  }
  const iterator = await from.iterator();
  for (;;) {
    const { value, done } = await iterator.next();
    if (done) return;
    yield value;
  }
}

/** The stream's examples one by one, on the host; tensors it yields are disposed. */
async function* examples(from: StreamSource, batched: boolean): AsyncGenerator<Record<string, Row>> {
  for await (const element of iterate(from)) {
    const columns = await Promise.all(
      Object.entries(element).map(async ([name, value]) => {
        const tensor = value instanceof tf.Tensor ? value : tf.tensor(value as TensorLike);
        const dtype = tensor.dtype === 'float32' ? 'float32' : 'int32';
        const data = (await tensor.data()) as Float32Array | Int32Array;
        const row = { dtype, shape: tensor.shape, data: data.slice() } as Row;
        tensor.dispose();
        return [RENAMED[name] ?? name, row] as const;
      }),
    );
    if (!batched) {
      yield Object.fromEntries(columns);
      continue;
    }
    const counts = new Set(columns.map(([, { shape }]) => shape[0]));
    if (counts.size !== 1 || counts.has(undefined as never))
      fail(
        'DATA_INVALID',
        'stream',
        `the columns of a batch differ in length: ${columns.map(([n, { shape }]) => `${n} [${shape}]`).join(', ')}`,
        'Give one row an example.',
      );
    for (let i = 0; i < columns[0][1].shape[0]; i++)
      yield Object.fromEntries(
        columns.map(([name, { dtype, shape, data }]) => {
          const size = shape.slice(1).reduce((a, b) => a * b, 1);
          return [name, { dtype, shape: shape.slice(1), data: data.subarray(i * size, (i + 1) * size) }];
        }),
      );
  }
}

/** Rows of equal shapes as one tensor a column. */
function stacked(rows: readonly Record<string, Row>[]): Record<string, Tensor> {
  const tensors: Record<string, Tensor> = {};
  for (const [name, { dtype, shape, data }] of Object.entries(rows[0])) {
    const all = new (data.constructor as Float32ArrayConstructor)(rows.length * data.length);
    for (const [i, row] of rows.entries()) {
      if (String(row[name]?.shape) !== String(shape))
        fail(
          'DATA_INVALID',
          'stream',
          `${name} has the shape [${shape}] in one example and [${row[name]?.shape}] in another`,
          'Give all examples one shape.',
        );
      all.set(row[name].data as Float32Array, i * data.length);
    }
    tensors[name] = tf.tensor(all, [rows.length, ...shape], dtype);
  }
  return tensors;
}
