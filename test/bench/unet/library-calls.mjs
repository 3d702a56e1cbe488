// What a step asks of TensorFlow's library, on tfjs-node and tfjs-node-gpu: calls that run an operation, tensors that are sent from Node's memory, and
// values that are read back, each with the milliseconds until the call returns. A GPU computes on after it returns, until the queue of its work is full.

import * as tf from '../../../dist/core/tf.js';
import { device } from '../../../dist/plugins/index.js';

/** Counts from `reset` on; the device is set up before. */
export async function libraryCalls(name) {
  await device(name).setUp();
  const backend = tf.backend();
  const { binding } = backend;
  const counted = { executeOp: null, createTensor: null, tensorDataSync: null };
  const operations = new Map();
  const reset = () => {
    for (const call of Object.keys(counted)) counted[call] = { count: 0, ms: 0 };
    operations.clear();
  };
  reset();
  const timed = (call) => ({
    value(...given) {
      const began = performance.now();
      const made = binding[call](...given);
      counted[call].count++;
      counted[call].ms += performance.now() - began;
      if (call === 'executeOp') operations.set(given[0], (operations.get(given[0]) ?? 0) + 1);
      return made;
    },
  });
  // The addon's own functions cannot be written over.
  backend.binding = Object.create(binding, Object.fromEntries(Object.keys(counted).map((call) => [call, timed(call)])));
  return {
    reset,
    /** A step's. */
    figures(steps) {
      const number = (x, digits = 0) => Number((x / steps).toFixed(digits));
      const { executeOp, createTensor, tensorDataSync } = counted;
      const most = [...operations].sort(([, a], [, b]) => b - a).slice(0, 8);
      return {
        calls: number(executeOp.count),
        callMs: number(executeOp.ms, 1),
        sent: number(createTensor.count),
        sentMs: number(createTensor.ms, 1),
        read: number(tensorDataSync.count, 1),
        readMs: number(tensorDataSync.ms, 1),
        operations: Object.fromEntries(most.map(([name, count]) => [name, number(count)])),
      };
    },
  };
}
