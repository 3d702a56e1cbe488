import { fail, messageOf } from '../../../core/index.js';
import { type Effects, override } from '../compute/undo.js';
import { unseen } from './native-errors.js';
import { DAWN_OPTIONS, requestAdapter, SOFTWARE_OPTIONS, TENSOR_CORES } from './request-device.js';

/** What the types of WebGPU do not have yet. */
interface AdapterInfo extends GPUAdapterInfo {
  readonly subgroupMatrixConfigs?: Iterable<{
    readonly M: number;
    readonly N: number;
    readonly K: number;
    readonly componentType: string;
    readonly resultComponentType: string;
  }>;
}

/**
 * navigator.gpu where there is one, else Dawn from the npm package `webgpu`: then globalThis has the names of WebGPU that browsers
 * have (GPUBuffer, GPUBufferUsage, ...), and navigator.gpu is Dawn, in a navigator that is made where there is none.
 * Each is among the `effects`.
 */
export async function findGPU(effects: Effects): Promise<GPU> {
  const here = (globalThis.navigator as Navigator | undefined)?.gpu;
  if (here) return here;
  // By a variable: whoever bundles for a browser must not find it.
  const name = 'webgpu';
  let dawn: { create(flags: string[]): GPU; globals: object };
  try {
    dawn = await import(name);
  } catch (error) {
    return fail(
      'DEVICE_UNAVAILABLE',
      'webgpu',
      `the package webgpu cannot be loaded (${messageOf(error).split('\n')[0]})`,
      'npm install webgpu.',
      error,
    );
  }
  effects.add(override<object>(globalThis, dawn.globals));
  if (process.platform === 'linux' && process.env.XDG_RUNTIME_DIR === undefined && !process.env.STEPLOOM_DEBUG) {
    // Loaders of Vulkan look for a window system there, and say so where it is not set; nothing is shown or written.
    process.env.XDG_RUNTIME_DIR = '/tmp';
    effects.add(() => void delete process.env.XDG_RUNTIME_DIR);
  }
  let gpu = dawn.create([...DAWN_OPTIONS]);
  const [looked] = unseen(() => requestAdapter(gpu));
  if ((await looked)?.info.architecture === 'swiftshader') gpu = dawn.create([...SOFTWARE_OPTIONS]);
  // TensorFlow.js looks for navigator.gpu; Node 20 has no navigator, later ones have one that cannot be extended by assignment.
  if (!globalThis.navigator) effects.add(override<object>(globalThis, { navigator: {} }));
  effects.add(override<object>(globalThis.navigator, { gpu }));
  return gpu;
}

/** The fastest adapter that there is. */
export async function findAdapter(gpu: GPU): Promise<GPUAdapter> {
  const [asked, said] = unseen(() => requestAdapter(gpu));
  return (
    (await asked) ??
    fail(
      'DEVICE_UNAVAILABLE',
      'webgpu',
      'no adapter was found',
      'Install a Vulkan, Metal or Direct3D 12 driver (Debian: libvulkan1 and the vendor’s).',
      said ? new Error(said.trim()) : undefined,
    )
  );
}

/** Whether shaders may multiply matrices of 16 by 16 float16 with float32 sums in subgroups of 32 threads. */
export function hasTensorCores(device: GPUDevice, adapter: GPUAdapter): boolean {
  const info = adapter.info as AdapterInfo;
  return (
    TENSOR_CORES.every((name) => device.features.has(name)) &&
    info.subgroupMinSize === 32 &&
    info.subgroupMaxSize === 32 &&
    [...(info.subgroupMatrixConfigs ?? [])].some(
      (c) => c.M === 16 && c.N === 16 && c.K === 16 && c.componentType === 'f16' && c.resultComponentType === 'f32',
    )
  );
}

/** The adapter by its names. */
export const describeAdapter = ({ info }: GPUAdapter): string =>
  [info?.vendor, info?.description || info?.device || info?.architecture].filter(Boolean).join(' ') || 'unnamed adapter';
