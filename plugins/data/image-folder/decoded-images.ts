import type { Decoded } from './decode.js';

/** Decoded images kept for later epochs, in bytes. */
const KEPT = 512 * 1024 * 1024;

/** Decodes images when they are first asked for, and keeps them while they fit. */
export class DecodedImages {
  /** Those that are being decoded, of 0 bytes yet, and those that are, in the order in which they were asked for. */
  private readonly images = new Map<number, { readonly decoding: Promise<Decoded>; bytes: number }>();
  private bytes = 0;

  /** `kept` is how many bytes of decoded images are. */
  constructor(
    private readonly decode: (id: number) => Promise<Decoded>,
    private readonly kept = KEPT,
  ) {}

  /** The image; decoding goes on in the background, and who asks for it again gets the same. */
  get(id: number): Promise<Decoded> {
    const known = this.images.get(id);
    if (known) return known.decoding;
    const decoding = this.decode(id);
    const entry = { decoding, bytes: 0 };
    this.images.set(id, entry);
    decoding.then(
      (image) => {
        // Cleared meanwhile, it is kept no more.
        if (this.images.get(id) !== entry) return;
        entry.bytes = image.bytes.byteLength + (image.alpha?.byteLength ?? 0);
        this.bytes += entry.bytes;
        this.makeRoom(id);
      },
      // An error is for the one who asks for the batch.
      () => undefined,
    );
    return decoding;
  }

  /** The oldest go first once there are more than can be kept; one that is being decoded, or has just been, stays. */
  private makeRoom(newest: number): void {
    for (const [id, { bytes }] of this.images) {
      if (this.bytes <= this.kept) return;
      if (bytes === 0 || id === newest) continue;
      this.images.delete(id);
      this.bytes -= bytes;
    }
  }

  clear(): void {
    this.images.clear();
    this.bytes = 0;
  }
}
