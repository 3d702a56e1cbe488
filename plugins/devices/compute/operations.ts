// The operations the models are made of, each one node on the tape with its gradient written out. A device may bring a
// fused kernel under a name of FUSED; elsewhere plain TensorFlow.js operations compute the same.

export { geglu, gelu, quickGelu, silu } from './activations.js';
export { attention } from './attention.js';
export { conv2d, upsample2x } from './convolution.js';
export { columnSum, embedding, linear } from './linear.js';
export { groupNorm, layerNorm } from './norms.js';
export { squaredErrors } from './squared-errors.js';
