import { writeAtomically } from './atomic-file.js';
import { pictureFile } from './picture-file.js';

/** Images of one size as rows of a grid, with a border between; pixels are [h, w, 3] in [0, 1]. The kind of file and `parameters` as pictureFile() has them. Needs Node. */
export async function writeGrid(
  path: string,
  images: readonly Float32Array[],
  side: { height: number; width: number },
  columns: number,
  zoom = 2,
  parameters?: string,
): Promise<void> {
  const { default: sharp } = await import('sharp');
  const gap = 1;
  const [h, w] = [side.height + gap, side.width + gap];
  const rows = Math.ceil(images.length / columns);
  const [height, width] = [rows * h + gap, columns * w + gap];
  const bytes = new Uint8Array(height * width * 3).fill(200);
  for (const [i, image] of images.entries()) {
    const [top, left] = [Math.floor(i / columns) * h + gap, (i % columns) * w + gap];
    for (let y = 0; y < side.height; y++)
      for (let x = 0; x < side.width * 3; x++)
        bytes[((top + y) * width + left) * 3 + x] = Math.round(255 * Math.min(1, Math.max(0, image[y * side.width * 3 + x])));
  }
  const grid = sharp(bytes, { raw: { width, height, channels: 3 } }).resize(width * zoom, height * zoom, { kernel: 'nearest' });
  await writeAtomically(path, await pictureFile(grid, path, parameters));
}

/** One image by itself; pixels are [h, w, 3] in [0, 1]. The kind of file and `parameters` as pictureFile() has them. Needs Node. */
export async function writePicture(
  path: string,
  pixels: Float32Array,
  { height, width }: { height: number; width: number },
  parameters?: string,
): Promise<void> {
  const { default: sharp } = await import('sharp');
  const bytes = Uint8Array.from(pixels, (value) => Math.round(255 * Math.min(1, Math.max(0, value))));
  const image = sharp(bytes, { raw: { width, height, channels: 3 } });
  await writeAtomically(path, await pictureFile(image, path, parameters));
}
