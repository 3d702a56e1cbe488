import type { Sharp } from 'sharp';
import type { Size } from '../../models/unet/time-ids.js';
import { writeAtomically } from '../../persist/formats/atomic-file.js';

/** Pixels along the longer side of a picture, and between two. */
const SIDE = 96;
const GAP = 2;
/** Of more pictures every second is shown, or every third, and so on. */
const MOST = 1024;

/** Many pictures in one, each as it is cut at its centre. One picture is in memory at a time, beside the sheet. */
export class ContactSheet {
  private readonly every: number;
  private readonly columns: number;
  private readonly width: number;
  private readonly height: number;
  private readonly pixels: Uint8Array;

  /** A sheet for so many pictures. */
  constructor(pictures: number) {
    this.every = Math.ceil(pictures / MOST);
    const shown = Math.ceil(pictures / this.every);
    this.columns = Math.ceil(Math.sqrt(shown));
    this.width = this.columns * (SIDE + GAP) + GAP;
    this.height = Math.ceil(shown / this.columns) * (SIDE + GAP) + GAP;
    this.pixels = new Uint8Array(this.width * this.height * 3).fill(128);
  }

  /** Puts a picture, as sharp has opened it, into its place. */
  async add(index: number, picture: Sharp, [h, w]: Size): Promise<void> {
    if (index % this.every !== 0) return;
    const [height, width] = [h, w].map((side) => Math.max(1, Math.round((SIDE * side) / Math.max(h, w))));
    const data = await picture
      .rotate()
      .flatten({ background: 'white' })
      .toColourspace('srgb')
      .resize({ width, height, fit: 'cover' })
      .removeAlpha()
      .raw()
      .toBuffer();
    const place = index / this.every;
    const left = (place % this.columns) * (SIDE + GAP) + GAP + ((SIDE - width) >> 1);
    const top = Math.floor(place / this.columns) * (SIDE + GAP) + GAP + ((SIDE - height) >> 1);
    for (let y = 0; y < height; y++)
      this.pixels.set(data.subarray(y * width * 3, (y + 1) * width * 3), ((top + y) * this.width + left) * 3);
  }

  /** Writes the sheet as PNG. */
  async write(path: string): Promise<void> {
    const { default: sharp } = await import('sharp');
    const { pixels, width, height } = this;
    await writeAtomically(
      path,
      await sharp(pixels, { raw: { width, height, channels: 3 } })
        .png()
        .toBuffer(),
    );
  }
}
