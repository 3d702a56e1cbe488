import type { DeviceOperations } from '../compute/contract.js';
import { numberOf, setValues } from './internals.js';
import { type CompiledPrograms, walk } from './program.js';

/**
 * Runs programs as plain loops, each bit as TensorFlow.js's operations would give it; a tensor each for every operation of every parameter is
 * what a step of small parameters spends its time on. What is written gets a new array, so that whoever holds the old one keeps its values.
 */
export const updater =
  (programs: CompiledPrograms): DeviceOperations['update'] =>
  (program, list, factors, finite) => {
    if (numberOf(finite) === 0) return;
    const compiled = programs.get(program, factors);
    for (const group of list) {
      const { size } = group[program.arrays[0]];
      const written = compiled.results.map(({ name, node }) => ({ name, slot: compiled.slots[node], next: new Float32Array(size) }));
      walk(compiled, group, size, (from, count) => {
        for (const { slot, next } of written) for (let i = 0; i < count; i++) next[from + i] = slot[i];
      });
      for (const { name, next } of written) setValues(group[name], next);
    }
  };
