/** What of the adapter's limits is asked for; a device gets the smallest otherwise. */
const LIMITS = [
  'maxBufferSize',
  'maxStorageBufferBindingSize',
  'maxStorageBuffersPerShaderStage',
  'maxComputeWorkgroupStorageSize',
  'maxComputeInvocationsPerWorkgroup',
  'maxComputeWorkgroupSizeX',
  'maxComputeWorkgroupsPerDimension',
] as const;

/**
 * What Dawn offers tensor cores under: experimental features, float16 with NVIDIA's driver, and Vulkan's memory model, which matrices of subgroups need. And no
 * index is limited to its array's length, which Dawn does for pages of strangers: shaders here look where an array ends where they may come to it (a LoRA step
 * on an H200 takes 0.94 times as long, attention forward 0.7 to 0.95).
 */
const TOGGLES = ['allow_unsafe_apis', 'vulkan_enable_f16_on_nvidia', 'use_vulkan_memory_model', 'disable_robustness'];

export const DAWN_OPTIONS: readonly string[] = [`enable-dawn-features=${TOGGLES.join()}`];

/**
 * For SwiftShader: workgroup memory is set to 0 by statements of Dawn's, not by an extension of Vulkan's, for which SwiftShader's compiler writes out every
 * number (5.7 s for a shader of attention that else takes 0.5).
 */
export const SOFTWARE_OPTIONS: readonly string[] = [
  ...DAWN_OPTIONS,
  'disable-dawn-features=use_vulkan_zero_initialize_workgroup_memory_extension',
];

/** The fastest adapter that there is. */
export const requestAdapter = (gpu: GPU): Promise<GPUAdapter | null> => gpu.requestAdapter({ powerPreference: 'high-performance' });

/** What tensor cores are used through. */
export const TENSOR_CORES = ['shader-f16', 'subgroups', 'chromium-experimental-subgroup-matrix'] as const;

/** A device with all of the adapter's limits. */
export const requestDevice = (adapter: GPUAdapter): Promise<GPUDevice> =>
  adapter.requestDevice({
    label: 'steploom',
    requiredLimits: Object.fromEntries(LIMITS.map((name) => [name, adapter.limits[name]])),
    requiredFeatures: (['timestamp-query', ...TENSOR_CORES] as GPUFeatureName[]).filter((name) => adapter.features.has(name)),
  });
