export { type LoraInMemoryOptions, loraInMemory } from './lora-in-memory.js';
