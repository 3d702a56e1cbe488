// Every plugin, and what their options are made of. index.browser.ts leaves out what needs Node.

export { type CachedLatentsOptions, cachedLatents } from './data/cached-latents.js';
export { type ImageFolderOptions, imageFolder } from './data/image-folder.js';
export { type ParquetPicturesOptions, parquetPictures } from './data/parquet-pictures.js';
export { tfjsNode } from './devices/tfjs-node.js';
export { type TFJSNodeGpuOptions, tfjsNodeGpu } from './devices/tfjs-node-gpu.js';
export { type MpiOptions, mpi } from './distributed/mpi.js';
export * from './index.browser.js';
export { learningRateChart } from './observe/charts/learning-rate-chart.js';
export { type CsvOptions, csv } from './observe/csv.js';
export { type JsonlOptions, jsonl } from './observe/jsonl.js';
export { type MlflowSettings, mlflowSettings } from './observe/mlflow/settings.js';
export { type MlflowOptions, mlflow } from './observe/mlflow.js';
export { type SamplesOptions, samples } from './observe/samples.js';
export { summary } from './observe/summary.js';
export { type TensorBoardOptions, tensorboard } from './observe/tensorboard.js';
export { PAGE, type Page, type UiOptions, ui } from './observe/ui.js';
export { type CheckpointOptions, checkpoint } from './persist/checkpoint.js';
export { folder } from './persist/formats/folder.js';
export { type HubOptions, hub } from './persist/formats/hub.js';
export { type PushToHubOptions, pushToHub } from './persist/push-to-hub.js';
export { runFolder } from './persist/run-folder.js';
export { saveLora } from './persist/save-lora.js';
