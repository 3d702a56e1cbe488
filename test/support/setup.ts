import 'reflect-metadata';

// Files of one process follow each other, and each begins as in a process of its own: with the device that TensorFlow.js begins with.
// Where none is named, the first tensor would take the best that is registered.
interface Engine {
  readonly backendName: string | null;
  findBackendFactory(name: string): unknown;
  setBackend(name: string): Promise<boolean>;
}
const { _tfengine: engine } = globalThis as { _tfengine?: Engine };
if (engine?.findBackendFactory('cpu') && engine.backendName !== 'cpu') await engine.setBackend('cpu');
