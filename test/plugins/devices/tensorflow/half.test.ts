import { afterAll, beforeAll, expect, test } from 'vitest';
import * as tf from '../../../../core/tf.js';
import { Constants } from '../../../../plugins/devices/tensorflow/constants.js';
import { knowHalf, precision } from '../../../../plugins/devices/tensorflow/half.js';
import type { Attribute, Output, TensorEntry, TensorFlowBackend } from '../../../../plugins/devices/tensorflow/internals.js';

// TensorFlow's package is not among those that tests install: a stand-in for its backend says what it was asked for.

const [FLOAT, INT, HALF] = [1, 3, 19];

class StandIn extends tf.KernelBackend {
  readonly tensorMap: tf.DataStorage<TensorEntry> = new tf.DataStorage<TensorEntry>(this, tf.engine());
  readonly handles = new Map<number, number>();
  /** What was run but casts: the name, its T, and what its operands are stored as. */
  asked: string[] = [];
  /** The values that came from Node's memory, each with its number of that kind. */
  sent: string[] = [];
  private next = 0;

  readonly binding = {
    TF_ATTR_TYPE: 0,
    TF_ATTR_BOOL: 1,
    TF_FLOAT: FLOAT,
    executeOp: (name: string, attributes: readonly Attribute[], inputs: readonly number[], outputs: number): Output[] => {
      const value = (key: string) => attributes.find((one) => one.name === key)?.value as number;
      if (inputs.some((id) => !this.handles.has(id))) throw new Error(`${name} is given what was deleted`);
      const stored = inputs.map((id) => this.handles.get(id));
      if (name === 'Cast' && stored[0] !== value('SrcT')) throw new Error('a cast from what it is not');
      if (name !== 'Cast') this.asked.push(`${name} ${value('T')} of ${stored.join()}`);
      const dtype = name === 'Cast' ? value('DstT') : value('T');
      return Array.from({ length: outputs }, () => ({ id: this.handle(dtype), shape: [2], dtype }));
    },
    createTensor: (_: readonly number[], dtype: number, values: ArrayBufferView) => {
      this.sent.push(`${dtype} ${values}`);
      return this.handle(dtype);
    },
    tensorDataSync: (id: number) => {
      if (this.handles.get(id) !== FLOAT) throw new Error('the addon reads no float16');
      return Float32Array.of(1, 2);
    },
    deleteTensor: (id: number) => void this.handles.delete(id),
  };

  private handle(dtype: number): number {
    this.handles.set(this.next, dtype);
    return this.next++;
  }
  override write(values: unknown, shape: number[], dtype: tf.DataType) {
    const dataId = {};
    const type = dtype === 'int32' ? INT : FLOAT;
    this.tensorMap.set(dataId, { shape, dtype: type, values, id: -1 });
    return dataId;
  }
  override dispose() {}
  override refCount = () => 1;
  override disposeData(dataId: object): boolean {
    this.binding.deleteTensor(this.tensorMap.get(dataId).id);
    return this.tensorMap.delete(dataId);
  }
  override readSync(dataId: object) {
    const { values, id } = this.tensorMap.get(dataId);
    return (values ?? this.binding.tensorDataSync(id)) as never;
  }
  override read = async (dataId: object) => this.readSync(dataId);
  getInputTensorIds = (tensors: readonly tf.Tensor[]) =>
    tensors.map(({ dataId }) => {
      const entry = this.tensorMap.get(dataId);
      if (entry.values) entry.id = this.binding.createTensor(entry.shape, entry.dtype, entry.values as ArrayBufferView);
      entry.values = null;
      return entry.id;
    });
  createOutputTensor({ id, shape, dtype }: Output) {
    if (dtype !== FLOAT) throw new Error(`Unknown dtype enum ${dtype}`);
    const dataId = {};
    this.tensorMap.set(dataId, { shape, dtype, values: null, id });
    return tf.engine().makeTensorFromTensorInfo({ dataId, shape, dtype: 'float32' }) as tf.Tensor;
  }
  executeSingleOutput(name: string, attributes: readonly Attribute[], inputs: readonly tf.Tensor[]) {
    return this.executeMultipleOutputs(name, attributes, inputs, 1)[0];
  }
  executeMultipleOutputs(name: string, attributes: readonly Attribute[], inputs: readonly tf.Tensor[], outputs: number) {
    return this.binding.executeOp(name, attributes, this.getInputTensorIds(inputs), outputs).map((made) => this.createOutputTensor(made));
  }
}

let backend: StandIn;
const asTensorFlow = () => backend as unknown as TensorFlowBackend;
beforeAll(async () => {
  tf.registerBackend('stand-in', () => (backend = new StandIn()), 0);
  await tf.setBackend('stand-in');
});
afterAll(async () => {
  await tf.setBackend('cpu');
  tf.removeBackend('stand-in');
});

/** What is run, and whether the result is in half precision, where `inputs` says of each operand whether it is. */
function run(name: string, inputs: readonly tf.Tensor[], outputs = 1) {
  backend.asked = [];
  const T = [{ name: 'T', type: 0, value: FLOAT }];
  const made = outputs > 1 ? backend.executeMultipleOutputs(name, T, inputs, outputs) : [backend.executeSingleOutput(name, T, inputs)];
  const half = made.map(precision.isHalf);
  tf.dispose(made);
  return [...backend.asked, ...half];
}

test('each operation is run in the precision that it and its operands ask for, and no copy is left', async () => {
  const constants = new Constants(asTensorFlow());
  const undo = knowHalf(asTensorFlow(), constants);
  const [full, row, sizes] = [tf.ones([5, 5]), tf.ones([20]), tf.tensor1d([1, 2], 'int32')];
  tf.dispose(backend.executeSingleOutput('Pack', [{ name: 'T', type: 0, value: FLOAT }], [row, sizes]));
  const half = precision.half(full);
  const before = backend.handles.size;
  expect([full, half].map(precision.isHalf)).toEqual([false, true]);
  expect(half.dtype).toBe('float32');

  expect(run('BatchMatMulV2', [full, full])).toEqual(['BatchMatMulV2 1 of 1,1', false]);
  expect(run('BatchMatMulV2', [full, half])).toEqual(['BatchMatMulV2 19 of 19,19', true]);
  expect(run('Conv2DBackpropInput', [sizes, half, full])).toEqual(['Conv2DBackpropInput 19 of 3,19,19', true]);
  expect(run('Mul', [half, half])).toEqual(['Mul 19 of 19,19', true]);
  expect(run('Mul', [half, row])).toEqual(['Mul 1 of 1,1', false]);
  expect(run('Add', [half, row])).toEqual(['Add 19 of 19,19', true]);
  expect(run('Mean', [half, sizes])).toEqual(['Mean 1 of 1,3', false]);
  expect(run('SplitV', [half, sizes], 2)).toEqual(['SplitV 19 of 19,3', true, true]);

  expect(await half.data()).toEqual(Float32Array.of(1, 2));
  expect(await full.data()).toEqual(Float32Array.of(1, 2));
  const again = precision.full(half);
  expect(precision.isHalf(again)).toBe(false);
  again.dispose();
  expect(backend.handles.size).toBe(before);

  const stored = await precision.store(full);
  expect([precision.isHalf(stored), full.isDisposed]).toEqual([true, true]);
  undo();
  expect(() => backend.executeSingleOutput('Mul', [{ name: 'T', type: 0, value: HALF }], [half, half])).toThrow('Unknown dtype enum 19');
  tf.dispose([row, sizes, half, stored]);
  constants.dispose();
});

test('shapes and numbers that are made anew for each operation are sent once, and so many are kept', () => {
  const constants = new Constants(asTensorFlow());
  const undo = knowHalf(asTensorFlow(), constants);
  const [x, handles] = [tf.ones([5, 5]), backend.handles.size];
  backend.sent = [];
  const add = (...values: tf.Tensor[]) => {
    for (const value of values) run('Add', [x, value]);
    tf.dispose(values);
  };
  add(tf.scalar(0.5), tf.scalar(0.5), tf.scalar(1), tf.scalar(1, 'int32'), tf.scalar(0.5), tf.tensor1d([0.5]), tf.scalar(-0), tf.scalar(0));
  expect(backend.sent).toEqual([`1 ${new Array(25).fill(1)}`, '1 0.5', '1 1', '3 1', '1 0.5', '1 0', '1 0']);
  for (let i = 0; i < 2000; i++) add(tf.scalar(2 + i));
  // x and 1024 others.
  expect(backend.handles.size - handles).toBe(1025);
  backend.sent = [];
  add(tf.scalar(2001), tf.scalar(0.5));
  expect(backend.sent).toEqual(['1 0.5']);
  // What has many numbers goes with its tensor.
  add(tf.ones([20]), tf.ones([20]));
  expect(backend.sent).toHaveLength(3);
  constants.dispose();
  x.dispose();
  expect(backend.handles.size).toBe(handles);
  undo();
});
