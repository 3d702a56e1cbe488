import { copyFile, mkdir } from 'node:fs/promises';
import { join } from 'node:path';

/** The .wasm files of TensorFlow.js's backend are served beside the page: they are no modules that a bundler finds. */
const wasmFiles = {
  name: 'wasm-files',
  async configResolved(config) {
    const { root } = config;
    const into = join(root, 'public', 'wasm');
    await mkdir(into, { recursive: true });
    for (const name of ['tfjs-backend-wasm.wasm', 'tfjs-backend-wasm-simd.wasm'])
      await copyFile(join(root, 'node_modules', '@tensorflow', 'tfjs-backend-wasm', 'dist', name), join(into, name));
  },
};

export default {
  plugins: [wasmFiles],
  // Only Node has use for the package webgpu: a browser has WebGPU of its own.
  build: { target: 'esnext', rollupOptions: { external: ['webgpu'] } },
  optimizeDeps: { exclude: ['webgpu'] },
};
