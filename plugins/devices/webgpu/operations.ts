import { type DeviceOperations, registerOperations } from '../compute/contract.js';
import type { Undo } from '../compute/undo.js';
import { adamw8bit } from './adamw8bit.js';
import { BucketReducer } from './bucket-reducer.js';
import type { WebGPUDevice } from './device.js';
import { normals } from './normals.js';
import { sum } from './reduce.js';
import { updater } from './update.js';

/** Registers what the compute contract asks of a device and TensorFlow.js's kernels have no form for. */
export const registerDeviceOperations = (device: WebGPUDevice): Undo => registerOperations('webgpu', operationsOf(device));

const operationsOf = (device: WebGPUDevice): Partial<DeviceOperations> => ({
  update: updater(device),
  sum: (program, list, factors) => sum(device, program, list, factors),
  adamw8bit: (...call) => adamw8bit(device, ...call),
  normals: (generators, size) => normals(device, generators, size),
  reducer: (collective, options) => new BucketReducer(device, collective, options),
});
