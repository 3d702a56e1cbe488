import type { Tensor } from '../../../core/tf.js';
import * as tf from '../../../core/tf.js';
import type { Arrays, Program } from '../compute/program.js';
import type { WebGPUDevice } from './device.js';
import { statements } from './program.js';
import { pack } from './slabs.js';
import { TableDispatches } from './table-dispatch.js';

/** Tensors above this size have a dispatch for few of them; one over slabs takes no more. */
const SMALL = 1 << 20;

/** Elements, or groups of four, that a workgroup of a dispatch over slabs updates. */
const CHUNK = 512;

/** Whether what a program writes is small, and either lies in slabs or is variables, which keep their memory from step to step. */
export const isPackable = (device: WebGPUDevice, program: Program, group: Arrays): boolean =>
  program.writes.every((name) => group[name].size <= SMALL && (group[name] instanceof tf.Variable || device.entryOf(group[name]).place));

/** Updates in place of many small tensors, of which those that are written lie in a slab for each array. */
export class SlabUpdates {
  private readonly tables: TableDispatches;

  constructor(private readonly device: WebGPUDevice) {
    this.tables = new TableDispatches(device);
  }

  run(program: Program, list: readonly Arrays[], factors: Tensor): void {
    const { device } = this;
    for (const name of program.writes) {
      const loose = list.filter((group) => !device.entryOf(group[name]).place);
      if (loose.length > 0)
        pack(
          device,
          loose.map((group) => group[name].dataId),
        );
      // What the host remembers of values is no longer true.
      for (const group of list) device.entryOf(group[name]).values = null;
    }
    this.tables.run(program, list, {
      what: 'update',
      chunk: () => CHUNK,
      first: ['var<storage, read> factors: array<f32>'],
      tensors: [factors],
      body({ wide, element }) {
        const { lines, results } = statements(program, element, wide);
        return `if (factors[${program.factors.length}] == 0f) { return; }
  for (var i = start + local; i < end; i += 256u) {
    ${[...lines, ...results.map(({ name, value }) => `${element(name)} = ${value};`)].join('\n    ')}
  }`;
      },
    });
  }
}
