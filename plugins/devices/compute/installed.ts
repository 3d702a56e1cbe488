import type { Undo } from './undo.js';

const DEVICE = Symbol('steploom: device');

/** A backend of TensorFlow.js, which carries what `install()` made for it. */
interface Carrier<D> {
  [DEVICE]?: D;
}

/** Keeps what was made for a backend on it; undoing takes it away. */
export function keepOn<D>(backend: object, device: D): Undo {
  Object.defineProperty(backend, DEVICE, { value: device, configurable: true });
  return () => {
    delete (backend as Carrier<D>)[DEVICE];
  };
}

/** What was made for a backend, if anything was. */
export const installedIn = <D>(backend: object): D | undefined => (backend as Carrier<D>)[DEVICE];

/** The same where it must be there: in kernels, which TensorFlow.js calls with the backend. */
export const deviceOf = <D>(backend: object): D => (backend as Required<Carrier<D>>)[DEVICE];
