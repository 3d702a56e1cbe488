import * as tf from '../../../core/tf.js';
import type { DeviceOperations } from '../compute/contract.js';
import { type CompiledPrograms, walk } from './program.js';

/** A program's sum as a plain loop, with the bits that TensorFlow.js's operations would give. */
export const summer =
  (programs: CompiledPrograms): DeviceOperations['sum'] =>
  (program, list, factors) => {
    const compiled = programs.get(program, factors);
    const slot = compiled.slots[compiled.results[0].node];
    let total = 0;
    for (const group of list) {
      let sum = 0;
      walk(compiled, group, group[program.arrays[0]].size, (_, count) => {
        for (let i = 0; i < count; i++) sum += slot[i];
      });
      // Rounded where TensorFlow.js rounds: after each group, and after each addition of groups.
      total = Math.fround(total + Math.fround(sum));
    }
    return tf.scalar(total);
  };
