import { type Model, makeContext, type Tensor, toHost, weightsOf } from '../../../core/index.js';
import type { Tensor2D, Tensor3D } from '../../../core/tf.js';
import * as tf from '../../../core/tf.js';
import type { TextConditions, TextToImage } from '../../models/stable-diffusion/text-to-image.js';
import type { Kept, Store } from './store.js';

/** The states of texts that frozen encoders give, on the host. */
export class TextCache {
  private readonly known = new Map<string, Kept>();

  constructor(private readonly store: Store) {}

  /** `model.encode`, which takes what is known where all of the texts are. */
  encoder(model: TextToImage): TextToImage['encode'] {
    return (context, texts) => {
      const found: Kept[] = [];
      for (const text of [...texts, '']) {
        const known = text === null ? undefined : this.known.get(text);
        if (!known) return model.encode(context, texts);
        found.push(known);
      }
      const nothing = found.pop() as Kept;
      return together(found, nothing);
    };
  }

  /** Whether texts give the same states at every step: the encoders are frozen. */
  areKept(model: Model): boolean {
    return ![...model.parameters.values()].some(({ trainable, group }) => trainable && group.startsWith('text_encoder'));
  }

  /** Computes the states of a text that is not kept yet. */
  async fill(model: TextToImage, text: string): Promise<void> {
    const path = `states ${model.base} ${model.configuration} ${model.mixedPrecision === 'fp16' ? 'fp16 ' : ''}${text}`;
    let value = await this.store.get(path);
    if (!value) {
      const context = makeContext(model, { mode: 'evaluate', parameters: weightsOf(model) });
      const { states, pooled } = tf.tidy(() => ({ ...model.encode(context, [text]) }));
      value = { states: await toHost(states), ...(pooled ? { pooled: await toHost(pooled) } : {}) };
      tf.dispose([states, ...(pooled ? [pooled] : [])]);
      await this.store.set(path, value);
    }
    this.known.set(text, value);
  }
}

/** The states of several texts as one batch. Texts that fill fewer pieces than the longest are followed by pieces of `nothing`, as a model encodes them. */
function together(found: readonly Kept[], nothing: Kept): TextConditions {
  const joined = (name: string): Tensor => {
    const size = Math.max(...found.map((one) => one[name].data.length));
    const [, ...shape] = (found.find((one) => one[name].data.length === size) as Kept)[name].shape;
    const all = new Float32Array(found.length * size);
    for (const [i, one] of found.entries()) {
      const row = all.subarray(i * size, (i + 1) * size);
      for (let at = 0, next = one[name]; at < size; next = nothing[name]) {
        row.set(next.data as Float32Array, at);
        at += next.data.length;
      }
    }
    return tf.tensor(all, [found.length, ...shape]);
  };
  return { states: joined('states') as Tensor3D, ...('pooled' in found[0] ? { pooled: joined('pooled') as Tensor2D } : {}) };
}
