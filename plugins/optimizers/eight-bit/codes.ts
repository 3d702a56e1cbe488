import { fail, type State, type TensorData } from '../../../core/index.js';
import type { Tensor, Variable } from '../../../core/tf.js';
import * as tf from '../../../core/tf.js';
import { codeStorage } from '../../devices/compute/codes.js';
import { operation } from '../../devices/compute/contract.js';

/**
 * The 8-bit codes of an optimizer's means, by name. Where the device has a kernel for them they are packed four to an int32, elsewhere kept as
 * its storage has them.
 */
export class Codes {
  private readonly variables = new Map<string, Variable>();
  private readonly sizes = new Map<string, number>();
  /** The code of 0 by name, which also fills the last word of a packed tensor. */
  private readonly zeros = new Map<string, number>();
  readonly packed = operation('adamw8bit') !== undefined;

  /** `size` codes, all of them that of 0. */
  add(name: string, size: number, zero: number): void {
    this.zeros.set(name, zero);
    const value = tf.tidy(() =>
      this.packed ? this.stored(new Uint8Array(size).fill(zero), zero) : codeStorage().store(tf.fill([size], zero, 'int32')),
    );
    this.variables.set(name, tf.variable(value as Tensor<tf.Rank>, false));
    value.dispose();
    this.sizes.set(name, size);
  }

  has(name: string): boolean {
    return this.variables.has(name);
  }

  get(name: string): Variable {
    return this.variables.get(name) as Variable;
  }

  /** Bytes held, one a code. */
  bytes(): number {
    return [...this.sizes.values()].reduce((sum, size) => sum + size, 0);
  }

  /** As `codes/name`. */
  async capture(): Promise<Record<string, TensorData>> {
    const captured: Record<string, TensorData> = {};
    for (const [name, variable] of this.variables) {
      const whole = tf.tidy(() => (this.packed ? variable : codeStorage().load(variable)).clone());
      const values = await whole.data();
      whole.dispose();
      const size = this.sizes.get(name) as number;
      const data = this.packed ? new Uint8Array((values as Int32Array).slice().buffer, 0, size).slice() : Uint8Array.from(values);
      captured[`codes/${name}`] = { dtype: 'uint8', shape: [size], data };
    }
    return captured;
  }

  /** Takes its part of a captured state back, and returns the rest of it. */
  restore(state: State, optimizer: string): State {
    const rest = new Map(Object.entries(state));
    for (const [name, variable] of this.variables) {
      const key = `codes/${name}`;
      const value = rest.get(key) as TensorData | undefined;
      rest.delete(key);
      if (value?.dtype !== 'uint8' || value.data.length !== this.sizes.get(name))
        fail(
          'SNAPSHOT_MISMATCH',
          optimizer,
          `the saved state does not fit: ${key} is missing or of another size`,
          'Resume with the model and plugins that wrote it.',
        );
      const stored = tf.tidy(() => this.stored(value.data as Uint8Array, this.zeros.get(name) as number));
      variable.assign(stored as Tensor<tf.Rank>);
      stored.dispose();
    }
    return Object.fromEntries(rest);
  }

  dispose(): void {
    for (const variable of this.variables.values()) variable.dispose();
    this.variables.clear();
    this.sizes.clear();
  }

  private stored(bytes: Uint8Array, padding: number): Tensor {
    if (!this.packed) return codeStorage().store(tf.tensor1d(Int32Array.from(bytes), 'int32'));
    const words = new Uint8Array(4 * Math.ceil(bytes.length / 4)).fill(padding);
    words.set(bytes);
    return tf.tensor1d(new Int32Array(words.buffer), 'int32');
  }
}
