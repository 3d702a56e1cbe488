import os from 'node:os';

// Two files run side by side. A device that chooses its number of threads takes one: others wait by looking again and again, on the processor that the
// other file needs.
os.availableParallelism = () => 1;
