// Every plugin, and what composes with them. index.browser.ts leaves out what needs Node.

export * from './data/emoji/noto.js';
export * from './data/image-folder.js';
export { DEVICES, type DeviceName, device, tryDevice } from './devices/pick.js';
export { tfjsNode, tfjsNodeGpu } from './devices/tfjs-node.js';
export { type WasmOptions, wasm } from './devices/wasm.js';
export { type MpiOptions, mpi } from './distributed/mpi.js';
export * from './index.browser.js';
export { type CsvOptions, csv } from './observe/csv.js';
export { type JsonlOptions, jsonl } from './observe/jsonl.js';
export { type ProgressOptions, progress } from './observe/progress.js';
export { samples } from './observe/samples.js';
export { plotRecords, readLog, summary } from './observe/summary.js';
export { type TensorBoardOptions, tensorboard } from './observe/tensorboard.js';
export { PAGE, type Page, type UiOptions, ui } from './observe/ui.js';
export { type CheckpointOptions, checkpoint } from './persist/checkpoint.js';
export { folder } from './persist/formats/folder.js';
export { writeGrid } from './persist/formats/png.js';
export { saveLora } from './persist/save-lora.js';
