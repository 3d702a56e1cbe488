import { type Batch, makeContext, type TensorData, toHost, weightsOf } from '../../../core/index.js';
import type { Tensor4D } from '../../../core/tf.js';
import * as tf from '../../../core/tf.js';
import type { TextToImage } from '../../models/stable-diffusion/text-to-image.js';
import { requireFiniteLatents } from '../../models/vae/finite-latents.js';
import type { PictureSource, View } from '../image-folder/picture-source.js';
import type { Store } from './store.js';

/** What is kept of a picture as it is shown. */
export interface KeptLatents {
  /** What the autoencoder gives, [1, h, w, channels]. */
  readonly moments: TensorData;
  readonly timeIds: TensorData;
  /** How much of each latent's loss counts, [1, h, w, 1], where pictures have such masks. */
  readonly mask?: TensorData;
}

/** The latents of pictures, computed when they are first asked for. */
export class LatentCache {
  private readonly views = new Map<number, Promise<readonly View[] | null>>();

  constructor(
    private readonly model: TextToImage,
    private readonly source: PictureSource,
    private readonly store: Store,
  ) {}

  /** Computes all that epochs will show of an example; false where that is too much to keep. */
  async fill(id: number): Promise<boolean> {
    const views = await this.viewsOf(id);
    for (const view of views ?? []) await this.latentsOf(id, view);
    return views !== null;
  }

  /** What an epoch shows of examples; null where one of them is shown in too many ways to keep. */
  async of(ids: readonly number[], epoch: number): Promise<KeptLatents[] | null> {
    const found: KeptLatents[] = [];
    for (const id of ids) {
      const view = (await this.viewsOf(id))?.[this.source.shown(id, epoch)];
      if (!view) return null;
      found.push(await this.latentsOf(id, view));
    }
    return found;
  }

  /** The batch with what the autoencoder makes of its images, which are disposed. */
  encoded(batch: Batch): Batch {
    const { images, ...others } = batch.tensors;
    return { ...batch, tensors: { ...others, moments: this.momentsOf(images as Tensor4D) } };
  }

  /** Disposes the images. */
  private momentsOf(images: Tensor4D): Tensor4D {
    const context = makeContext(this.model, { mode: 'evaluate', parameters: weightsOf(this.model) });
    const moments = tf.tidy(() => this.model.codec.moments(context, images));
    images.dispose();
    return moments;
  }

  private viewsOf(id: number): Promise<readonly View[] | null> {
    const known = this.views.get(id) ?? this.source.views(id);
    this.views.set(id, known);
    return known;
  }

  private async latentsOf(id: number, { key, load }: View): Promise<KeptLatents> {
    const path = `latents ${this.model.base} ${this.model.configuration} ${key}`;
    const known = await this.store.get(path);
    if (known) return known as unknown as KeptLatents;
    const { tensors, numbers } = await load();
    const mask = tensors.mask && (await toHost(tensors.mask));
    tensors.mask?.dispose();
    const computed = this.momentsOf(tensors.images as Tensor4D);
    const moments = await toHost(computed);
    computed.dispose();
    requireFiniteLatents(moments.data as Float32Array, [this.source.nameOf(id)]);
    const timeIds = Int32Array.from(numbers?.timeIds?.[0] ?? []);
    const value = { moments, timeIds: { dtype: 'int32' as const, shape: [timeIds.length], data: timeIds } };
    await this.store.set(path, mask ? { ...value, mask } : value);
    return mask ? { ...value, mask } : value;
  }
}
