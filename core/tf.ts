/**
 * TensorFlow.js as steploom uses it, and users may: `import * as tf from 'steploom/tf'`. Its core with gradients, methods of tensors and the backend
 * for plain JavaScript; its layers; its data. What else @tensorflow/tfjs has, a backend for WebGL and a converter of models, is not needed. Where that
 * package is there too, in the same version, both are the same copy.
 */
import './tf/copies.js';
import '@tensorflow/tfjs-backend-cpu';
import './tf/registered.js';

export * from '@tensorflow/tfjs-core';
// Types of the methods.
export type {} from '@tensorflow/tfjs-core/dist/public/chained_ops/register_all_chained_ops.js';
export * as data from '@tensorflow/tfjs-data';
export * from '@tensorflow/tfjs-layers';
