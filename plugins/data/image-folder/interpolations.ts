/** How pictures are resized, by torchvision's names, and sharp's kernels for it. */
export const KERNELS = { lanczos: 'lanczos3', bicubic: 'cubic', bilinear: 'linear', nearest: 'nearest' } as const;
export type Interpolation = keyof typeof KERNELS;
export const INTERPOLATIONS = Object.keys(KERNELS) as [Interpolation, ...Interpolation[]];
