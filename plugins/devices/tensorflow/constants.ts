import type { TensorInfo } from '../../../core/tf.js';
import type { TensorFlowBackend } from './internals.js';

/** Of larger tensors none is kept. */
const MOST_BYTES = 64;
/** So many are kept, those that were used last. */
const KEPT = 1024;

/**
 * Tensors that TensorFlow.js makes anew for each operation, shapes, axes and a formula's numbers, sent to TensorFlow once: there are thousands in a step, and
 * a copy to a GPU begins when all that was to be computed before is done.
 */
export class Constants {
  private readonly handles = new Map<string, number>();

  constructor(private readonly backend: TensorFlowBackend) {}

  /** A handle of the tensor's values, which stays this object's own; none where they are many, or in TensorFlow's memory already. */
  handle({ dataId }: TensorInfo): number | undefined {
    const { shape, dtype, values } = this.backend.tensorMap.get(dataId);
    if (!ArrayBuffer.isView(values) || values.byteLength > MOST_BYTES) return undefined;
    // By their bits: 0 is not -0.
    const bits = Buffer.from(values.buffer, values.byteOffset, values.byteLength).toString('latin1');
    const key = `${dtype} ${shape} ${bits}`;
    const handle = this.handles.get(key) ?? this.backend.binding.createTensor(shape, dtype, values);
    this.handles.delete(key);
    this.handles.set(key, handle);
    if (this.handles.size > KEPT) this.forget(this.handles.keys().next().value as string);
    return handle;
  }

  private forget(key: string): void {
    this.backend.binding.deleteTensor(this.handles.get(key) as number);
    this.handles.delete(key);
  }

  readonly dispose = (): void => {
    for (const key of this.handles.keys()) this.forget(key);
  };
}
