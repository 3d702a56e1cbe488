import { attachLater } from '../../../core/index.js';
import * as tf from '../../../core/tf.js';

/** Takes one effect back. */
export type Undo = () => void;

/** Gives an object other values for some of its properties; undoing brings back what was there, or nothing. */
export function override<T extends object>(target: T, values: Partial<T>): Undo {
  const before = Object.keys(values).map((name) => [name, Object.getOwnPropertyDescriptor(target, name)] as const);
  for (const [name, value] of Object.entries(values))
    Object.defineProperty(target, name, { value, configurable: true, writable: true, enumerable: true });
  return () => {
    for (const [name, descriptor] of before) {
      if (descriptor) Object.defineProperty(target, name, descriptor);
      else delete (target as Record<string, unknown>)[name];
    }
  };
}

/**
 * Effects in the order in which they were made; `undo` takes them back, the last first, each once. Every one gets its turn: the first error is
 * thrown at the end, with those that came after attached to it.
 */
export class Effects {
  private readonly undos: Undo[] = [];

  add(undo: Undo): void {
    this.undos.push(undo);
  }

  readonly undo = (): void => {
    const errors: unknown[] = [];
    for (let undo = this.undos.pop(); undo; undo = this.undos.pop())
      try {
        undo();
      } catch (error) {
        errors.push(error);
      }
    if (errors.length > 0) throw errors.reduce(attachLater);
  };
}

/** Remembers TensorFlow.js's current backend; undoing makes it current again, if it is still there. */
export function keepCurrentBackend(): Undo {
  const before = tf.getBackend();
  return () => {
    if (before && before !== tf.getBackend() && tf.findBackendFactory(before)) void tf.setBackend(before);
  };
}
