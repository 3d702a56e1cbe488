// The presets that run in a browser as well as in Node, and what plugins are called in options.

export { OPTIMIZERS, type OptimizerName, optimizerByName } from './common/optimizers.js';
export { SCHEDULES, type ScheduleName, type ScheduleOptions, scheduleByName } from './common/schedules.js';
export { type LoraInMemoryOptions, loraInMemory } from './lora-in-memory.js';
export { type Columns, type SupervisedPresetOptions, supervised } from './supervised.js';
