import type { Tensor } from '../../../core/tf.js';
import { currentBackend, type TensorFlowBackend } from './internals.js';

/** A resource of TensorFlow's that holds a variable's memory, and the data it was last seen with. */
interface Resource {
  readonly handle: number;
  dataId: object;
}

/**
 * Variables whose memory TensorFlow's in-place operations may write. Such an operation copies what others still hold, so `take` lets go
 * of the variable's view and `give` makes a new one; both move no memory.
 */
export class Resources {
  private readonly known = new WeakMap<Tensor, Resource>();
  private readonly finalizer: FinalizationRegistry<number>;
  private made = 0;

  /** The backend may no longer be the current one when a variable is gone. */
  constructor({ binding }: TensorFlowBackend) {
    this.finalizer = new FinalizationRegistry((handle) => binding.deleteTensor(handle));
  }

  /** The handle of a variable's resource, which holds its memory from now on. */
  take(variable: Tensor): number {
    const backend = currentBackend();
    const { binding } = backend;
    const [id] = backend.getInputTensorIds([variable]);
    const resource = this.known.get(variable) ?? this.make(variable);
    // Assigned from outside (a restored snapshot, say): the resource takes that memory over.
    if (resource.dataId !== variable.dataId) {
      binding.executeOp('AssignVariableOp', this.dtype(), [resource.handle, id], 0);
      resource.dataId = variable.dataId;
    }
    binding.deleteTensor(id);
    return resource.handle;
  }

  /** Gives the variable a view of what its resource holds now. */
  give(variable: Tensor, handle: number): void {
    const backend = currentBackend();
    const [{ id }] = backend.binding.executeOp('ReadVariableOp', this.dtype(), [handle], 1);
    backend.tensorMap.get(variable.dataId).id = id;
  }

  private make(variable: Tensor): Resource {
    const { binding } = currentBackend();
    const text = (name: string, value: string) => ({ name, type: binding.TF_ATTR_STRING, value });
    const shape = { name: 'shape', type: binding.TF_ATTR_SHAPE, value: variable.shape };
    const names = [text('container', ''), text('shared_name', `steploom-${++this.made}`)];
    const [{ id: handle }] = binding.executeOp('VarHandleOp', [...this.dtype(), shape, ...names], [], 1);
    const resource = { handle, dataId: {} };
    this.known.set(variable, resource);
    this.finalizer.register(variable, handle);
    return resource;
  }

  private dtype() {
    const { TF_ATTR_TYPE, TF_FLOAT } = currentBackend().binding;
    return [{ name: 'dtype', type: TF_ATTR_TYPE, value: TF_FLOAT }];
  }
}
