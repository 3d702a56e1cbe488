// AssemblyScript, compiled to WebAssembly with SIMD by build.mjs. It works in the memory of TensorFlow.js's wasm backend: every argument
// named as an array is the address of float32 numbers there. Nothing is allocated and nothing kept.

// @ts-nocheck: these are AssemblyScript's types, not TypeScript's.

export { filterGradient } from './filter-gradient';
export { pack, product, convolution } from './tiles';
export { winogradFilter, winograd } from './winograd';
export { attention, attentionGrad } from './attention';
export { groupNorm, groupNormGrad, layerNorm, layerNormGrad, layerNormGammaGrad } from './norms';
export { silu, siluGrad, geglu, gegluGrad } from './activations';
export { softmax, softmaxGrad } from './softmax';
export { adamw8bit } from './adamw8bit';
export { add, subtract, multiply, divide } from './elementwise';
export { copyLines, upsample, upsampleGrad, pixelSum } from './pixels';
