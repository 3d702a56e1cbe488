export { type LoraInMemoryOptions, loraInMemory } from './lora-in-memory.js';
export { type Columns, type SupervisedPresetOptions, supervised } from './supervised.js';
