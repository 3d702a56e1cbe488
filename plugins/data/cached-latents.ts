import {
  abridged,
  COLLECTIVE,
  DATA,
  DEVICE,
  type Filling,
  type Host,
  macrotask,
  type Problems,
  type Source,
  type TensorData,
} from '../../core/index.js';
import type { Tensor4D } from '../../core/tf.js';
import * as tf from '../../core/tf.js';
import { isTextToImage } from '../models/stable-diffusion/text-to-image.js';
import type { Files } from '../persist/formats/files.js';
import { LatentCache } from './cached-latents/latent-cache.js';
import { leaveDevice, weightsToLeave } from './cached-latents/leave-device.js';
import { store } from './cached-latents/store.js';
import { TextCache } from './cached-latents/text-cache.js';
import { type PictureSource, weightsOfExamples } from './image-folder/picture-source.js';

export interface CachedLatentsOptions {
  /** Where to keep what was computed, for later runs too; in memory by default. */
  readonly files?: Files;
  /** Told before training, on rank 0, how many examples (`latents`) and then how many texts (`captions`) are done. */
  readonly onProgress?: (done: number, of: number, what: 'latents' | 'captions') => void;
  /** Say so where there is nothing to keep: of a model without an autoencoder, of pictures that each epoch cuts elsewhere. */
  readonly sayIdle?: boolean;
}

/** Data whose source says how pictures are shown. */
export interface Pictures extends Filling<'DATA'> {
  open(problems: Problems): Promise<PictureSource>;
}

/**
 * Pictures whose latents are computed once, before the first step, and the states of their captions where the text encoders are not trained. Batches
 * hold `moments` [n, h, w, channels] in place of images (and masks as before), from which latents are drawn at each visit: training is the same, bit for bit. The
 * autoencoder and frozen text encoders then leave the device, until pictures are drawn. Examples that each epoch cuts at another place are encoded each time; models
 * without an autoencoder are left as they are. Of files, what is damaged is computed again, and said; FILE_UNWRITABLE where none can be written. LATENTS_NOT_FINITE
 * names the picture of which the autoencoder makes no numbers: before the first step, or, where it is encoded each time, in the step (denoising() looks).
 */
export const cachedLatents = (data: Pictures, { files, onProgress, sayIdle = false }: CachedLatentsOptions = {}) => {
  /** Files that were found to be damaged, and not yet named. */
  let damaged: string[] = [];
  let warn: Host['warn'];
  const kept = store(files, (path) => damaged.push(path));
  const texts = new TextCache(kept);
  let source: PictureSource;
  let latents: LatentCache | null = null;
  /** What there is before all are computed: those of steps that are tried before the first one. */
  let early: () => LatentCache | null = () => null;
  const nameDamaged = () => {
    if (damaged.length > 0) warn(`damaged files are computed and written again: ${abridged(damaged)}`);
    damaged = [];
  };

  return {
    name: 'cached-latents',
    fills: DATA,
    async apply(host: Host): Promise<void> {
      const { hooks, resolve } = host;
      warn = host.warn;
      await host.adopt(data);
      hooks.validate.tapPromise(async (problems) => {
        const why = await files?.unwritable?.();
        if (why)
          problems.add(
            'FILE_UNWRITABLE',
            'cached-latents',
            `nothing can be kept in ${files?.where}: ${why}`,
            'Give another folder, or none: what is computed is then kept in memory.',
          );
      });
      hooks.prepareModel.tap((model) =>
        isTextToImage(model)
          ? {
              ...model,
              encode: texts.encoder(model),
              leaving: new Set(weightsToLeave(model).filter((path) => !source.captionsVary || model.parameters.get(path)?.group === 'vae')),
              leaveDevice: () => leaveDevice(host.model()),
            }
          : model,
      );
      early = () => {
        const model = host.model();
        return isTextToImage(model) ? new LatentCache(model, source, kept) : null;
      };
      hooks.onStart.tapPromise(async () => {
        const model = host.model();
        const { rank, worldSize, sum } = resolve(COLLECTIVE);
        const say = (what: string) => {
          if (sayIdle && rank === 0 && !host.stopAsked()) warn(what);
        };
        if (!isTextToImage(model)) return say('the model has no autoencoder: there are no latents to keep');
        latents = new LatentCache(model, source, kept);
        // What one process puts into a folder the others find there.
        const [first, stride] = files ? [rank, worldSize] : [0, 1];
        const tell: typeof onProgress = (...how) => {
          if (rank === 0) onProgress?.(...how);
        };
        let unkept = 0;
        for (let id = first; id < source.items && !host.stopAsked(); id += stride) {
          if (!(await latents.fill(id))) unkept++;
          tell(Math.min(source.items, id + stride), source.items, 'latents');
          // Lets signals in.
          await macrotask();
        }
        const ofAll = await sum(unkept);
        const many = files ? ofAll : unkept;
        if (many > 0)
          say(`the latents of ${many} of ${source.items} pictures are not kept: each epoch cuts them elsewhere. centerCrop keeps them`);
        // Those that are others each time are encoded when they come.
        const captions = [...new Set(['', ...(source.captionsVary ? [] : (source.strings?.text ?? []))])];
        for (let i = 0; texts.areKept(model) && i < captions.length && !host.stopAsked(); i++) {
          await texts.fill(model, captions[i]);
          tell(i + 1, captions.length, 'captions');
          await macrotask();
        }
        nameDamaged();
        await leaveDevice(model);
        // Pictures are large, and steps are of other sizes.
        resolve(DEVICE).release?.();
      });
    },
    async open(problems: Problems): Promise<Source> {
      source = await data.open(problems);
      return {
        ...source,
        async load(ids, more) {
          latents ??= early();
          if (!latents) return source.load(ids, more);
          const found = await latents.of(ids, more.epoch);
          nameDamaged();
          if (!found) return latents.encoded(await source.load(ids, more));
          return {
            items: ids.length,
            ids,
            epoch: more.epoch,
            tensors: {
              moments: stacked(found.map(({ moments }) => moments)),
              ...(found[0].mask ? { mask: stacked(found.map(({ mask }) => mask as TensorData)) } : {}),
            },
            strings: { text: ids.map((id) => source.captionAt(id, more.epoch)) },
            numbers: { timeIds: found.map(({ timeIds }) => Array.from(timeIds.data)), ...weightsOfExamples(source, ids) },
          };
        },
      };
    },
  };
};

/** Examples of one shape [1, ...] each, as one tensor. */
function stacked(examples: readonly TensorData[]): Tensor4D {
  const [{ shape, data }] = examples;
  const all = new Float32Array(examples.length * data.length);
  for (const [i, example] of examples.entries()) all.set(example.data as Float32Array, i * data.length);
  return tf.tensor<tf.Rank.R4>(all, [examples.length, shape[1], shape[2], shape[3]]);
}
