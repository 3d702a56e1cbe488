import 'reflect-metadata';

// Files of one process follow each other, and each begins as in a process of its own: with the device that TensorFlow.js begins with.
const engine = (globalThis as { _tfengine?: { backendName: string | null; setBackend(name: string): Promise<boolean> } })._tfengine;
if (engine?.backendName && engine.backendName !== 'cpu') await engine.setBackend('cpu');
