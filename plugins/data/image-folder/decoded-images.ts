import type { Decoded } from './decode.js';

/** Decoded images kept for later epochs, in bytes. */
const KEPT = 512 * 1024 * 1024;

/** Decodes images when they are first asked for, and keeps them while they fit. */
export class DecodedImages {
  private readonly images = new Map<number, Promise<Decoded>>();
  private bytes = 0;

  constructor(private readonly decode: (id: number) => Promise<Decoded>) {}

  /** The image; decoding goes on in the background, and who asks for it again gets the same. */
  get(id: number): Promise<Decoded> {
    const known = this.images.get(id);
    if (known) return known;
    const decoding = this.decode(id).then((image) => {
      this.bytes += image.bytes.length;
      // The oldest go first once there are more than can be kept.
      for (const [other] of this.images) {
        if (this.bytes <= KEPT || other === id) break;
        this.images.delete(other);
        this.bytes -= image.bytes.length;
      }
      return image;
    });
    // An error is for the one who asks for the batch.
    decoding.catch(() => undefined);
    this.images.set(id, decoding);
    return decoding;
  }

  clear(): void {
    this.images.clear();
  }
}
